"""What holds for upsamplers whatever their numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from medups.upsamplers import Interpolate, ReSFU, create_upsampler


def test_imports_torch_alone():
    code = (
        "import sys, medups.upsamplers; others = 'monai hydra nibabel scipy triton SimpleITK matplotlib'.split(); "
        "print([name for name in others if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(("dims", "axis"), [(2, 2), (2, 3), (3, 2), (3, 4)])
def test_resfu_flips_with_its_inputs(dims, axis):
    torch.manual_seed(0)
    up = ReSFU(dims, 4, 6, subsample=1).double()  # subsampling keeps the first pixel, which a flip moves
    x, guide = torch.randn(1, 4, *[3] * dims).double(), torch.randn(1, 6, *[7] * dims).double()
    with torch.no_grad():
        for block in (up.semantic, up.detail):
            torch.nn.init.normal_(block.logits.weight, std=0.3)
    out = up(x, guide).x
    with torch.no_grad():  # spatial kernels flipped, and the tap logits with them
        for block in (up.semantic, up.detail):
            block.weight.copy_(block.weight.flip(axis))
            for part in (block.logits.weight, block.logits.bias):
                part.copy_(part.unflatten(0, [3] * dims).flip(axis - 2).flatten(0, dims - 1))
    torch.testing.assert_close(up(x.flip(axis), guide.flip(axis)).x.flip(axis), out)


def test_resfu_weights_sum_to_one_and_stay_inside():
    up = ReSFU(2, 4, 6)
    weights = up.kernels(torch.randn(1, 4, 3, 3), torch.randn(1, 6, 9, 9))
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 9, 9))
    corner = weights[0, :, 0, 0].reshape(3, 3)
    assert corner[0].abs().max() == 0
    assert corner[:, 0].abs().max() == 0


def test_interpolate_is_torchs():
    x = torch.randn(2, 3, 4, 5)
    aligned = create_upsampler("linear_aligned", spatial_dims=2, in_channels=3)
    torch.testing.assert_close(aligned(x).x, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
    torch.testing.assert_close(Interpolate(2, 3)(x).x, F.interpolate(x, scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: create_upsampler("resfuu", spatial_dims=2, in_channels=4), ValueError, "Did you mean 'resfu'"),
        (lambda: create_upsampler("linear", spatial_dims=4, in_channels=4), ValueError, "spatial_dims must be 2 or 3"),
        (lambda: ReSFU(2, 4), ValueError, "guide_channels must be at least 1"),
        (lambda: ReSFU(2, 4, 4, kernel_size=4), ValueError, "kernel_size must be odd"),
        (lambda: ReSFU(2, 4, 4, embed_channels=20), ValueError, "embed_channels must be a multiple"),
        (lambda: ReSFU(2, 4, 4, 0.5), ValueError, "scale_factor must be at least 1"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3)), ValueError, "guide is missing"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3), torch.zeros(2, 4, 6, 6)), ValueError, "guide must be"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3), torch.zeros(1, 5, 6, 6)), ValueError, "guide must be"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 6, 6)), ValueError, "smaller than x"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3), torch.zeros(1, 4, 6, 6).double()), TypeError, "must agree"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 4, 3, 3, dtype=torch.int64)), TypeError, "floating-point"),
        (lambda: ReSFU(2, 4, 4)(torch.zeros(1, 3, 3, 3), torch.zeros(1, 4, 6, 6)), ValueError, "x must be"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
