"""The contract of every network with every upsampler. Representative cells run by default, all with ``--full``."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
import yaml
from monai.networks.nets import UNETR, BasicUNet, DynUNet, SwinUNETR, UNet
from torch import nn

from medups.io.shipped import configs_dir
from medups.networks import DirectDecoder, FusionDecoder, SwinUNet, TransUNet, with_upsampler
from medups.upsamplers import list_upsamplers

CLASSES = 3


class Segmenter(nn.Module):
    """A pyramid of three strided convolutions and a decoder."""

    def __init__(self, decoder: type, dims: int, upsampler: str, options: dict[str, Any]) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        channels = (1, 8, 12, 16)
        self.stages = nn.ModuleList(conv(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels))
        self.decoder = decoder(dims, channels[1:], CLASSES, 16, upsampler, options)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps, x = [], image
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return self.decoder(maps, size=image.shape[2:])


MONAI: dict[type, Callable[[int], nn.Module]] = {
    BasicUNet: lambda dims: BasicUNet(dims, 1, CLASSES, (8, 8, 8, 16, 16, 8)),
    DynUNet: lambda dims: DynUNet(dims, 1, CLASSES, [3] * 3, [1, 2, 2], [2, 2], filters=[8, 8, 16]),
    SwinUNETR: lambda dims: SwinUNETR(1, CLASSES, feature_size=12, spatial_dims=dims, depths=(1, 1, 1, 1)),
    UNet: lambda dims: UNet(dims, 1, CLASSES, (4, 8, 16), (2, 2), num_res_units=1),
    UNETR: lambda dims: UNETR(1, CLASSES, (32, 48), 8, 24, 48, 2, spatial_dims=dims),
}


def monai(net: type, dims: int, upsampler: str, options: dict[str, Any]) -> nn.Module:
    return with_upsampler(MONAI[net](dims), upsampler, options)


def transunet(size: tuple[int, ...], upsampler: str, options: dict[str, Any]) -> nn.Module:
    return TransUNet(size, 1, CLASSES, upsampler, options, variant="tiny")


def swin_unet(size: tuple[int, ...], upsampler: str, options: dict[str, Any]) -> nn.Module:
    return SwinUNet(size, 1, CLASSES, upsampler, options, image_guide=True, variant="test", drop_path=0)


@dataclass(frozen=True)
class Network:
    """How to build it, its image size, its upsamplers outside the registry; valid sizes are multiples of ``step``."""

    build: Any
    size: tuple[int, ...]
    native: tuple[str, ...] = ()
    step: int | None = None
    unused: tuple[str, ...] = ()  # name suffixes of parameters that the original network does not use

    def make(self, upsampler: str) -> nn.Module:
        torch.manual_seed(0)
        options = dict(_NARROW.get(upsampler, {}))
        make = partial(self.build, self.size) if self.step else self.build
        return make(upsampler, options)

    def image(self, batch: int = 1) -> torch.Tensor:
        return torch.randn(batch, 1, *self.size, generator=torch.Generator().manual_seed(1))


_NARROW = {  # quick to compute
    "resfu": {"embed_channels": 8},
    "freqfusion": {"compressed_channels": 16},
    "carafe": {"compressed_channels": 8},
    "sapa": {"embed_channels": 8},
    "fade": {"embed_channels": 8},
    "lda_aqu": {"groups": 1},  # the narrowest maps have one channel per group
}
NETWORKS = {
    "transunet": Network(transunet, (32, 48), ("bilinear",), step=16),
    "swin_unet": Network(swin_unet, (32, 48), ("patch_expand",), step=16),
    "direct-2": Network(partial(Segmenter, DirectDecoder, 2), (19, 26)),
    "direct-3": Network(partial(Segmenter, DirectDecoder, 3), (11, 16, 9)),
    "fusion-2": Network(partial(Segmenter, FusionDecoder, 2), (19, 26)),
    "fusion-3": Network(partial(Segmenter, FusionDecoder, 3), (11, 16, 9)),
    "basic_unet-2": Network(partial(monai, BasicUNet, 2), (35, 32)),
    "dyn_unet-3": Network(partial(monai, DynUNet, 3), (9, 12, 11)),
    "swin_unetr-2": Network(partial(monai, SwinUNETR, 2), (64, 64)),
    "unet-3": Network(partial(monai, UNet, 3), (8, 12, 16)),
    "unetr-2": Network(partial(monai, UNETR, 2), (32, 48), unused=("norm_cross_attn.weight", "norm_cross_attn.bias")),
}
CELLS = {f"{name}-{up}": (net, up) for name, net in NETWORKS.items() for up in (*net.native, *list_upsamplers())}
REPRESENTATIVE = {
    "transunet-bilinear", "transunet-resfu", "swin_unet-patch_expand", "swin_unet-freqfusion", "direct-2-resfu",
    "fusion-2-freqfusion", "fusion-3-fade", "basic_unet-2-resfu", "dyn_unet-3-carafe",
}  # fmt: skip
TRACED = {"transunet-bilinear", "fusion-2-sapa", "basic_unet-2-carafe"}  # quick to trace
_WHY = "traced with every upsampler in fusion-2, and each upsampler on its own in test_upsampler_graphs"
SKIPPED = {  # (cell, check): why
    (cell, check): _WHY
    for cell, (net, up) in CELLS.items()
    for check in ("compile", "export")
    if net is not NETWORKS["fusion-2"] and up not in (*net.native, "resfu") and cell not in TRACED
}


def cells(check: str, representative: set[str] = REPRESENTATIVE):
    def cell(name: str) -> Any:
        marks = [] if name in representative else [pytest.mark.full]
        if reason := SKIPPED.get((name, check)):
            marks.append(pytest.mark.skip(reason=reason))
        return pytest.param(*CELLS[name], id=name, marks=marks)

    return pytest.mark.parametrize(("net", "upsampler"), [cell(name) for name in CELLS])


def test_every_configurable_network_is_covered():
    """The classes named in ``configs/network``, and the decoders documented for any encoder.

    Networks for pictures are covered by test_pictures.py, test_upsampled_logits.py,
    test_mask2former.py and test_rcnn.py.
    """
    modules = [yaml.safe_load(path.read_text())["module"] for path in (configs_dir() / "network").glob("*.yaml")]
    configured = {module["_target_"].rpartition(".")[2] for module in modules if "_target_" in module}
    configured -= {"Mask2Former", "RCNN", "SegFormer", "SegNeXt", "Segmenter", "UpsampledLogits"}
    covered = {type(module).__name__ for net in NETWORKS.values() for module in net.make("linear").modules()}
    assert configured | {"DirectDecoder", "FusionDecoder"} <= covered


def test_every_upsampler_is_covered():
    """Each file of ``configs/upsampler`` names an upsampler of the matrix; ``native`` keeps the network's own one."""
    names = {path.stem for path in (configs_dir() / "upsampler").glob("*.yaml")}
    assert names - {"native"} == {up for _, up in CELLS.values()}


@cells("learning")
def test_learning(net, upsampler):
    """Logits have the image's size, even if odd; a batch of one gives every parameter a gradient, as DDP requires."""
    network, image = net.make(upsampler).train(), net.image()
    logits = network(image)
    assert logits.shape == (1, CLASSES, *net.size)
    logits.square().mean().backward()
    used = {name: parameter for name, parameter in network.named_parameters() if not name.endswith(net.unused or "-")}
    assert [name for name, parameter in used.items() if parameter.grad is None] == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in used.values())


@cells("repetition")
def test_repetition(net, upsampler):
    """The network, its copy, and one that loads its weights give bit-identical output."""
    network, image = net.make(upsampler), net.image(batch=2)
    network.train()(image)  # so that the norm statistics differ from their initial values
    network.eval()
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    torch.manual_seed(3)
    loaded = net.make(upsampler).eval()
    for parameter in loaded.parameters():
        nn.init.normal_(parameter)
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        expected = network(image)
        for candidate in (network, copy.deepcopy(network), loaded):
            assert torch.equal(candidate(image), expected)


@pytest.mark.parametrize("name", [name for name, net in NETWORKS.items() if net.step])
def test_unsupported_size(name):
    net = NETWORKS[name]
    with pytest.raises(ValueError, match="use 48 x 64"):
        net.build((45, 50), net.native[0], {})
    assert net.build((48, 64), net.native[0], {})(torch.zeros(1, 1, 48, 64)).shape == (1, CLASSES, 48, 64)


@cells("compile", TRACED)
def test_compile(net, upsampler):
    network, image = net.make(upsampler).eval(), net.image()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager")
    result, expected = compiled(image), network(image)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    gradients = []
    for out in (result, expected):
        network.zero_grad()
        out.square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
    for gradient, expected_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-4)


@cells("export", TRACED)
def test_export(net, upsampler, tmp_path):
    """The exported program and its ONNX model match the network."""
    network, image = net.make(upsampler).eval(), net.image()
    expected = network(image)
    program = torch.export.export(network, (image,))
    torch.testing.assert_close(program.module()(image), expected, rtol=1e-4, atol=1e-5)
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = tmp_path / "net.onnx"
    torch.onnx.export(program, (), str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    result = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)
