"""Published numbers, met in float64 through load_published: outputs and gradients."""

from __future__ import annotations

import pytest
import torch

from medups.upsamplers import ReSFU
from medups.weights import load_published
from tests.conftest import relative_error

RESFU = ["x2", "x4", "x8", "2d_5x3_to_15x9", "2d_8x7_to_15x12", "3d_3x4x4_to_6x8x8", "3d_4x3x3_to_4x6x7"]


@pytest.mark.parametrize("name", RESFU)
def test_resfu(golden, name):
    numbers = golden(f"resfu_{name}")
    meta = numbers.meta
    upsampler = ReSFU(meta.get("spatial_dims", 2), meta["in_channels"], meta["guide_channels"], meta["scale"]).double()
    report = load_published(upsampler, numbers.weights(), layout="resfu")
    assert len(report.loaded) == len(upsampler.state_dict())
    x, guide = (torch.tensor(numbers[f"in/{key}"]).double().requires_grad_() for key in ("x", "guide"))
    out = upsampler(x, guide)
    (out.x * torch.tensor(numbers["cot/x_up"]).double()).sum().backward()
    assert out.guide is guide
    assert relative_error(out.x, numbers["out/x_up"]) < 1e-6
    assert relative_error(x.grad, numbers["grad/x"]) < 1e-6
    assert relative_error(guide.grad, numbers["grad/guide"]) < 1e-6
