"""Swin-Unet against the published network, and its decoder with other upsamplers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medups.networks import SwinUNet
from medups.weights import load_published


def test_published_network(golden, formula, monkeypatch):
    """The script that made the golden file also filled the shifted-window masks by its formula; so does this test."""
    numbers = golden("swin_unet_tiny_224")
    layers = iter([f"layers.{n}" for n in range(4)] + [f"layers_up.{n}" for n in (1, 2, 3)])

    def mask(dims, window, shift, device):
        windows = (dims[0] // window[0]) * (dims[1] // window[1])
        return torch.from_numpy(formula(f"{next(layers)}.blocks.1.attn_mask", [windows, 49, 49]))

    monkeypatch.setattr("monai.networks.nets.swin_unetr.compute_mask", mask)
    network = SwinUNet().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(27.2e6, rel=2e-3)
    prefixed = {f"module.swin_unet.{name}": value for name, value in numbers.formula_weights().items()}
    report = load_published(network, prefixed, layout="swin-unet")
    assert report.initial == report.unused == []
    image = np.random.RandomState(11).random_sample((1, 1, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        logits = network(torch.from_numpy(image)).numpy()
    spread = numbers["out_std"].max()
    assert np.abs(logits[:, :, ::8, ::8] - numbers["out_stride8"]).max() < 1e-4 * spread
    assert np.abs(logits.mean((0, 2, 3)) - numbers["out_mean"]).max() < 1e-4 * spread


def test_windows_do_not_reach_around_the_border():
    """Shifted windows mask the opposite border: the first rows do not depend on the last one."""
    stage = SwinUNet().eval().stages[1]
    x = torch.randn(1, 192, 28, 28)
    changed = x.clone()
    changed[:, :, -1] += 10
    with torch.no_grad():
        difference = (stage(x) - stage(changed)).abs().amax((0, 1, 3))
    assert difference[:17].max() == 0
    assert difference[17:].min() > 0


def test_imagenet_weights_fill_encoder_and_mirrored_decoder(golden, tmp_path):
    published = golden("swin_unet_tiny_224").formula_weights()
    swin = {name: value for name, value in published.items() if name.startswith(("patch_embed", "layers.", "norm."))}
    swin |= {"head.weight": np.zeros((1000, 768)), "layers.0.blocks.1.attn_mask": np.zeros((64, 49, 49))}
    network = SwinUNet(upsampler="resfu")
    head = network.head.weight.clone()
    path = tmp_path / "swin_tiny_patch4_window7_224.pth"  # in the layout of Microsoft's file
    torch.save({"model": {name: torch.as_tensor(value) for name, value in swin.items()}}, path)
    report = load_published(network, path, layout="swin-imagenet")
    state = network.state_dict()
    for step, layer in enumerate((2, 1, 0)):
        name = "blocks.1.attn.qkv.weight"
        assert np.array_equal(state[f"steps.{step}.fuse.1.{name}"], swin[f"layers.{layer}.{name}"])
    assert np.array_equal(state["stages.3.blocks.0.mlp.linear1.weight"], swin["layers.3.blocks.0.mlp.fc1.weight"])
    assert torch.equal(network.head.weight, head)
    assert "head.weight" in report.initial
    assert any("upsampler" in name for name in report.initial)
    with pytest.raises(ValueError, match=r"missing: patches\.0\.weight"):
        load_published(network, {k: v for k, v in swin.items() if "proj.weight" not in k}, layout="swin-imagenet")


@pytest.mark.parametrize("upsampler", ["patch_expand", "resfu", "freqfusion", "fade", "carafe", "nearest"])
@pytest.mark.parametrize("image_guide", [True, False])
def test_every_parameter_learns(upsampler, image_guide):
    torch.manual_seed(0)
    options = {"compressed_channels": 16} if upsampler == "freqfusion" else {}
    network = SwinUNet((48, 64), 2, 3, upsampler, options, image_guide=image_guide, variant="test", drop_path=0)
    logits = network(torch.randn(2, 2, 48, 64))
    assert logits.shape == (2, 3, 48, 64)
    logits.square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # softmax over taps is invariant to a constant added to all of them, and norms cancel the bias before them
    assert all("upsampler" in name and name.endswith("bias") for name in idle), idle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"img_size": 100}, "use 112 x 112"),
        ({"variant": "huge"}, "expected one of tiny, small, base, test"),
        ({"upsampler": "magic"}, "unknown upsampler 'magic'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SwinUNet(**{"variant": "test", "img_size": 64, **arguments})
    with pytest.raises(ValueError, match="expected images"):
        SwinUNet(64, variant="test")(torch.zeros(1, 1, 32, 64))
