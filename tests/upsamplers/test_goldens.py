"""Outputs and gradients match the published numbers in float64, with weights from load_published."""

from __future__ import annotations

import pytest
import torch

from medups.upsamplers import (
    CARAFE,
    FADE,
    SAPA,
    DySample,
    FreqFusion,
    LocalAttender,
    ReSFU,
    create_upsampler,
)
from medups.weights import load_published
from tests.conftest import relative_error

FILES = {
    "resfu": ["x2", "x4", "x8", "2d_5x3_to_15x9", "2d_8x7_to_15x12", "3d_3x4x4_to_6x8x8", "3d_4x3x3_to_4x6x7"],
    "freqfusion": [
        "zeros_offset_plain", "zeros_nooffset_hamming", "reflect_offset_hamming",
        "2d_8x5_to_15x11", "3d_3x4x4_to_6x8x8",
    ],
    "carafe": ["x2_g1", "x4_g2"],
    "sapa": ["x2"],
    "fade": ["", "lite"],
    "dysample": ["lp_x2", "pl_x2_scope"],
}  # fmt: skip


def build(layout, meta):
    dims, channels = meta.get("spatial_dims", 2), meta["in_channels"]
    guide = meta.get("guide_channels")
    if layout == "resfu":
        return ReSFU(dims, channels, guide, meta["scale"])
    if layout == "freqfusion":
        names = ("compressed_channels", "lowpass_kernel", "highpass_kernel", "offset_generator", "offset_norm",
                 "hamming_window", "border")  # fmt: skip
        return FreqFusion(dims, channels, guide, meta["scale"], **{name: meta[name] for name in names})
    if layout == "carafe":
        names = ("kernel_size", "groups", "compressed_channels")
        return CARAFE(dims, channels, None, meta["scale"], **{name: meta[name] for name in names})
    if layout == "sapa":
        return SAPA(dims, channels, guide, meta["scale"], kernel_size=5, embed_channels=meta["embed"])
    if layout == "fade":
        return FADE(dims, channels, guide, meta["scale"], lite=meta["lite"])
    names = ("style", "groups", "dynamic_scope")
    return DySample(dims, channels, None, meta["scale"], **{name: meta[name] for name in names})


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout, names in FILES.items() for name in names])
def test_published_numbers(golden, layout, name):
    numbers = golden(f"{layout}_{name}".rstrip("_"))
    upsampler = build(layout, numbers.meta).double()
    report = load_published(upsampler, numbers.weights(), layout=layout)
    assert sorted(report.loaded) == sorted(upsampler.state_dict())
    inputs = {
        key: torch.tensor(numbers[f"in/{key}"]).double().requires_grad_()
        for key in ("x", "guide")
        if f"in/{key}" in numbers.arrays
    }
    out = upsampler(**inputs)
    outputs = {"x_up": out.x, "guide_out": out.guide}
    stored = [key for key in outputs if f"out/{key}" in numbers.arrays]
    sum((outputs[key] * torch.tensor(numbers[f"cot/{key}"]).double()).sum() for key in stored).backward()
    for key in stored:
        assert relative_error(outputs[key], numbers[f"out/{key}"]) < 1e-6
    for key, value in inputs.items():
        assert relative_error(value.grad, numbers[f"grad/{key}"]) < 1e-6
    if "guide_out" not in stored and "guide" in inputs:
        assert out.guide is inputs["guide"]


PEERS = {
    "lda_aqu": ["g2", "h2"],
    "sapa_d": ["x2", "x3", "norm"],
    "local_attender": ["star", "block3", "cross"],
    "onsampling": ["3d"],
}


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout, names in PEERS.items() for name in names])
def test_outputs_of_the_published_modules(golden, layout, name):
    """Outputs of the authors' modules in float64; one sample for Onsampling, whose code mixes samples of a batch."""
    numbers = golden(f"{layout}_{name}")
    meta = numbers.meta
    upsampler = create_upsampler(
        layout,
        spatial_dims=meta["spatial_dims"],
        in_channels=meta["in_channels"],
        guide_channels=meta.get("guide_channels"),
        scale_factor=meta["scale"],
        **meta["options"],
    ).double()
    report = load_published(upsampler, numbers.weights(), layout=layout)
    assert sorted(report.loaded) == sorted(upsampler.state_dict())
    guide = torch.tensor(numbers["in/guide"]) if "in/guide" in numbers.arrays else None
    out = upsampler(torch.tensor(numbers["in/x"]), guide)
    assert relative_error(out.x, numbers["out/x_up"]) < 1e-12
    assert out.guide is guide


@pytest.mark.parametrize(
    ("neighborhood", "counts"),
    [("cross", (5, 7)), ("block3", (9, 27)), ("diamond", (13, 25)), ("star", (17, 33)), ("block5", (25, 125))],
)
def test_neighborhoods(neighborhood, counts):
    for dims, count in zip((2, 3), counts, strict=True):
        assert LocalAttender(dims, 4, 4, neighborhood=neighborhood).encode.out_channels == count


def test_onsampling_treats_samples_apart():
    torch.manual_seed(0)
    upsampler = create_upsampler("onsampling", spatial_dims=2, in_channels=4, dynamic_scope=True).double()
    torch.nn.init.normal_(upsampler.offset.weight)
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    together = upsampler(x).x
    for number in range(3):
        assert torch.allclose(upsampler(x[number : number + 1]).x[0], together[number], atol=1e-12)
