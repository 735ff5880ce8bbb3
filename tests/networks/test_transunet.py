"""TransUNet against the published network, and its decoder with other upsamplers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medups.networks import TransUNet, swap_upsampling
from medups.networks.transunet import VARIANTS
from medups.weights import load_published


def test_published_network(golden):
    numbers = golden("transunet_r50_vit_b16_224")
    network = TransUNet().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(105.3e6, rel=1e-3)
    report = load_published(network, numbers.formula_weights(), layout="transunet")
    assert not report.initial or all("num_batches" in name for name in report.initial)
    image = np.random.RandomState(7).random_sample((1, 1, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        logits = network(torch.from_numpy(image)).numpy()
    spread = numbers["out_std"].max()
    assert np.abs(logits[:, :, ::8, ::8] - numbers["out_stride8"]).max() < 1e-4 * spread
    assert np.abs(logits.mean((0, 2, 3)) - numbers["out_mean"]).max() < 1e-4 * spread


@pytest.mark.parametrize(
    "upsampler", ["bilinear", "resfu", "freqfusion", "sapa", "fade", "carafe", "dysample", "nearest"]
)
@pytest.mark.parametrize("image_guide", [True, False])
def test_every_parameter_learns(upsampler, image_guide):
    torch.manual_seed(0)
    network = TransUNet((64, 96), 2, 3, upsampler, image_guide=image_guide, variant="tiny")
    logits = network(torch.randn(2, 2, 64, 96))
    assert logits.shape == (2, 3, 64, 96)
    logits.square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # softmax over taps is invariant to a constant added to all of them, and norms cancel the bias before them
    assert all("upsampler" in name and name.endswith("bias") for name in idle), idle


@pytest.mark.parametrize("upsampler", ["bilinear", "resfu", "fade", "carafe"])
def test_without_skips(monkeypatch, upsampler):
    """ViT-B/16 embeds patches, and the image at the output size of each block guides the block."""
    monkeypatch.setitem(VARIANTS, "vit_small", replace(VARIANTS["tiny"], width=None, units=None))
    torch.manual_seed(0)
    network = TransUNet((64, 96), 1, 3, upsampler, variant="vit_small")
    guides = []
    for step in network.decoder.steps:
        step.upsampler.register_forward_hook(lambda module, inputs, output: guides.append(inputs[1]))
    logits = network(torch.randn(2, 1, 64, 96))
    logits.square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("upsampler" in name and name.endswith("bias") for name in idle), idle
    if upsampler in ("resfu", "fade"):
        assert [tuple(guide.shape[2:]) for guide in guides] == [(8, 12), (16, 24), (32, 48), (64, 96)]
    assert sum(p.numel() for p in network.parameters()) < 1e6


@pytest.mark.parametrize("upsampler", ["linear", "resfu", "freqfusion"])
def test_image_skip(upsampler):
    """The last block reads the upsampled map and the convolution of the image, and every part of both learns."""
    torch.manual_seed(0)
    network = TransUNet(64, 2, 3, upsampler, image_skip=True, variant="tiny")
    assert network.decoder.steps[-1].fuse[0][0].in_channels == 16 + 16
    network(torch.randn(2, 2, 64, 64)).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("upsampler" in name and name.endswith("bias") for name in idle), idle
    swap_upsampling(network, "linear")
    assert network.decoder.image_guide is not None
    assert network(torch.randn(1, 2, 64, 64)).shape == (1, 3, 64, 64)


def test_upsampler_follows_the_configuration():
    steps = TransUNet(64, 1, 2, "resfu", {"embed_channels": 16}, variant="tiny").decoder.steps
    assert [type(step.upsampler).__name__ for step in steps] == ["ReSFU"] * 4
    assert steps[0].upsampler.query.out_channels == 16
    last = TransUNet(64, 1, 2, "resfu", image_guide=False, variant="tiny").decoder.steps[-1].upsampler
    assert type(last).__name__ == "Interpolate"
    assert last.align_corners


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"img_size": 100}, "use 112 x 112"),
        ({"variant": "huge"}, "expected one of r50_vit_b16, vit_b16, tiny"),
        ({"upsampler": "magic"}, "unknown upsampler 'magic'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransUNet(**{"variant": "tiny", "img_size": 64, **arguments})


def test_wrong_image_size_is_rejected():
    with pytest.raises(ValueError, match=r"expected images \[B, 1, 64, 64\]"):
        TransUNet(64, variant="tiny")(torch.zeros(1, 1, 80, 80))
