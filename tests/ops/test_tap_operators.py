"""The operators behind reassemble and neighbor_similarity follow torch's rules for custom operators."""

from __future__ import annotations

import pytest
import torch

from medups.ops import neighbor_similarity, reassemble
from medups.ops.taps.geometry import TapGeometry

SHIFTED = TapGeometry((3, 3), (4, 6), (2, 2))  # of a map enlarged to 8 x 10
GATHERED = TapGeometry((2, 3), (4, 5), None)


def operands(geometry):
    torch.manual_seed(0)
    source = torch.randn(2, 2, 3, 8, 10, requires_grad=True)
    indices = []
    if geometry.steps is None:
        indices = [torch.randint(0, n, (k, m)) for n, k, m in zip((8, 10), geometry.counts, geometry.size, strict=True)]
    taps = torch.randn(2, 2, geometry.counts[0] * geometry.counts[1], *geometry.size, requires_grad=True)
    values = torch.randn(2, 2, 3, *geometry.size, requires_grad=True)
    rest = (list(geometry.counts), list(geometry.size), list(geometry.steps or (0, 0)), indices)
    return source, taps, values, rest


@pytest.mark.parametrize("geometry", [SHIFTED, GATHERED], ids=["shifted", "gathered"])
def test_opcheck(geometry, opcheck):
    """torch's checks of schema, autograd registration and fake tensors; the contract's test_compile covers tracing."""
    source, taps, values, rest = operands(geometry)
    opcheck(torch.ops.medups.weighted_sum, (source, taps, *rest))
    opcheck(torch.ops.medups.dot_products, (source, values, *rest))
    detached = [value.detach() for value in (source, taps, values)]
    opcheck(torch.ops.medups.spread_taps, (*detached, *rest))


@pytest.mark.parametrize("geometry", [SHIFTED, GATHERED], ids=["shifted", "gathered"])
def test_sum_dot_and_spread_are_transposes(geometry):
    """<sum(s, w), v> = <s, spread(w, v)> = <w, dot(s, v)> for any values."""
    source, taps, values, rest = (v.detach().double() if isinstance(v, torch.Tensor) else v for v in operands(geometry))
    ops = torch.ops.medups
    first = (ops.weighted_sum(source, taps, *rest) * values).sum()
    torch.testing.assert_close((ops.spread_taps(source, taps, values, *rest) * source).sum(), first)
    torch.testing.assert_close((ops.dot_products(source, values, *rest) * taps).sum(), first)


def test_uniform_weights_keep_the_slope_of_a_ramp():
    """Three linear taps of equal weight average to the pixel's own position; only taps at the borders are clamped."""
    for n_in, n_out in ((6, 12), (6, 15), (7, 9)):
        ramp = torch.arange(n_in, dtype=torch.float64).expand(1, 1, 4, n_in)
        weights = torch.full((1, 1, 9, 4, n_out), 1 / 9, dtype=torch.float64)
        out = reassemble(ramp, weights, kernel_size=3, taps="linear")[0, 0, 2]
        inside = slice(-(-2 * n_out // n_in), -(-2 * n_out // n_in) * -1)
        torch.testing.assert_close(out.diff()[inside], torch.full_like(out.diff()[inside], n_in / n_out))


def test_half_precision_is_summed_in_float32():
    """2197 equal float16 taps; a float16 sum would stall at 1, where each term is half a unit in the last place."""
    x = torch.full((1, 1, 13, 13, 13), 1.0, dtype=torch.float16)
    weights = torch.full((1, 1, 13**3, 1, 1, 1), 2.0**-11, dtype=torch.float16)
    out = reassemble(x, weights, kernel_size=13, border="replicate")
    assert out.item() == pytest.approx(13**3 / 2**11, rel=1e-3)


def test_similarity_is_the_gradient_of_reassembly():
    torch.manual_seed(0)
    key, query = torch.randn(1, 4, 3, 4, dtype=torch.float64), torch.randn(1, 4, 7, 9, dtype=torch.float64)
    weights = torch.zeros(1, 1, 9, 7, 9, dtype=torch.float64, requires_grad=True)
    (reassemble(key, weights, kernel_size=3) * query).sum().backward()
    torch.testing.assert_close(weights.grad[:, 0], neighbor_similarity(query, key, kernel_size=3))
