"""Special cases of operators: gradients, half precision, large maps, values far from zero."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medups.ops import guided_filter, paired_difference_conv, reassemble
from medups.ops.blurring import gaussian_blur
from medups.ops.kernel_prediction import LogitLayers, kernel_logits
from medups.ops.resized_norms import group_norm_as_resized
from medups.ops.resizing import resize_linear

torch.set_default_dtype(torch.float32)


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_guided_filter_of_a_volume_constant_along_an_axis_matches_2d():
    guide, x = double(1, 2, 6, 7), double(1, 2, 6, 7)
    flat = guided_filter(guide, x, radius=2, eps=1e-3)
    deep = guided_filter(*(v[:, :, None].expand(-1, -1, 4, -1, -1) for v in (guide, x)), radius=2, eps=1e-3)
    torch.testing.assert_close(deep, flat[:, :, None].expand_as(deep))


@pytest.mark.parametrize(
    ("small", "large"), [((4, 5), (8, 15)), ((3, 4), (5, 7)), ((1, 2), (6, 2)), ((2, 3, 2), (5, 3, 6))]
)
def test_group_norm_has_the_statistics_of_the_enlarged_map(small, large):
    """Normalizing then enlarging equals enlarging then normalizing."""
    x, weight, bias = 3 + double(2, 8, *small), double(8), double(8)
    mode = {2: "bilinear", 3: "trilinear"}[len(small)]
    expected = F.group_norm(F.interpolate(x, size=large, mode=mode), 4, weight, bias)
    result = F.interpolate(group_norm_as_resized(x, large, 4, weight, bias), size=large, mode=mode)
    torch.testing.assert_close(result, expected)


def test_statistics_keep_full_precision_under_autocast():
    """Autocast would otherwise run the matrix products in half precision."""
    x, weight, bias = 3 + torch.randn(2, 8, 9, 7), torch.rand(8), torch.randn(8)
    expected = group_norm_as_resized(x, (18, 14), 4, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(group_norm_as_resized(x, (18, 14), 4, weight, bias), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_only_the_result_is_rounded(dtype):
    """For positive inputs, the error against float64 is at most half a unit in the last place of the type."""
    x, weights = (torch.rand(1, 1, *size).add(0.1).to(dtype) for size in ((37, 23), (9, 50, 41)))
    for function in (
        lambda x, w: resize_linear(x, (90, 50), step=2),
        lambda x, w: resize_linear(F.pad(x, [2] * 4, mode="replicate"), (90, 50), margin=2),
        lambda x, w: reassemble(x, w, kernel_size=3, taps="linear"),
        lambda x, w: gaussian_blur(x),
    ):
        result, exact = function(x, weights), function(x.double(), weights.double())
        assert result.dtype == dtype
        assert ((result.double() - exact).abs() <= (0.5 + 1e-3) * torch.finfo(dtype).eps * exact).all()


def logit_layers(batch, channels, width, taps, *size, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = [(batch, channels, *size), (batch, width, *size), (channels, width), (channels, channels // 2)]
    shapes += [(channels,)] * 3 + [(taps, channels), (taps,)]
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def literal_logits(around, query, center, mix, mix_bias, norm_weight, norm_bias, weight, bias):
    def conv(x, matrix, offset=None):
        return torch.einsum("mc,bc...->bm...", matrix, x) + (0 if offset is None else offset[:, None, None])

    difference = F.relu(around - conv(query, center))
    halves = zip(difference.chunk(2, 1), mix.chunk(2), mix_bias.chunk(2), strict=True)
    hidden = F.relu(torch.cat([conv(*half) for half in halves], 1))
    return conv(F.group_norm(hidden, 2, norm_weight, norm_bias), weight, bias)


@pytest.mark.parametrize("size", [(3, 5), (1, 1), (300, 90)], ids=["small", "pixel", "several blocks"])
def test_kernel_logits_equal_their_layers(size):
    """Outputs and all gradients match the separate layers; 300 x 90 pixels need more than one block."""
    layers = logit_layers(2, 8, 4, 9, *size)
    result, expected = kernel_logits(*layers[:2], LogitLayers(*layers[2:]), norm_groups=2), literal_logits(*layers)
    torch.testing.assert_close(result, expected)
    cotangent = torch.randn_like(expected)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(result, layers, cotangent), torch.autograd.grad(expected, layers, cotangent), strict=True
    ):
        torch.testing.assert_close(gradient, expected_gradient)


def test_kernel_logits_keep_their_statistics_far_from_zero():
    """For hidden values around 1000 with a spread of 1, a float32 mean of squares would lose the variance."""
    layers = logit_layers(1, 8, 4, 9, 40, 40, dtype=torch.float32)
    with torch.no_grad():
        layers[4] += 1000
        exact = literal_logits(*(value.double() for value in layers))
        result = kernel_logits(*layers[:2], LogitLayers(*layers[2:]), norm_groups=2)
    assert (result.double() - exact).abs().max() < 2e-3 * exact.abs().max()


def test_kernel_logits_opcheck(opcheck):
    around, query, *rest = logit_layers(2, 8, 4, 9, 6, dtype=torch.float32)
    rows = [value.detach().transpose(1, 2).contiguous().requires_grad_() for value in (around, query)]
    opcheck(torch.ops.medups.kernel_logits, (*rows, *rest, 2, 1e-5))


def test_gradients():
    key, query = double(1, 2, 3, 2).requires_grad_(), double(1, 2, 5, 4).requires_grad_()
    weight = double(4, 1, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: paired_difference_conv(*a, groups=2), (key, query, weight))
    assert torch.autograd.gradcheck(lambda g, x: guided_filter(g, x, radius=2, eps=1e-2), (query, double(1, 2, 5, 4)))
    scale = double(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda k, w: group_norm_as_resized(k, (5, 4), 1, w, w), (key, scale))
