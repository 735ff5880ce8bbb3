"""reassemble against its definition, written out pixel by pixel."""

from __future__ import annotations

from itertools import product
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medups.ops import reassemble
from medups.ops.reassembly import torch_path

SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)), min_size=2, max_size=3)


def written_out(x, weights, kernel_size, taps, border):
    """Loops over every output pixel and tap, as the definition reads."""
    batch, channels, *n_in = x.shape
    groups, _, *n_out = weights.shape[1:]
    out = np.zeros((batch, channels, *n_out))
    reach = kernel_size // 2
    for p in product(*map(range, n_out)):
        for number, offset in enumerate(product(range(-reach, reach + 1), repeat=len(n_in))):
            if taps == "nearest":
                where = [floor(i * n / m) + t for i, n, m, t in zip(p, n_in, n_out, offset, strict=True)]
                value = read(x, where, border)
            else:
                where = [(i + 0.5) * n / m - 0.5 + t for i, n, m, t in zip(p, n_in, n_out, offset, strict=True)]
                value = read_between(x, where)
            for g in range(groups):
                part = slice(g * channels // groups, (g + 1) * channels // groups)
                out[(slice(None), part, *p)] += weights[(slice(None), g, number, *p)][:, None] * value[:, part]
    return out


def read(x, where, border):
    index = []
    for i, n in zip(where, x.shape[2:], strict=True):
        if not 0 <= i < n:
            if border == "zeros":
                return np.zeros(x.shape[:2])
            if border == "reflect" and n > 1:
                while not 0 <= i < n:
                    i = -i if i < 0 else 2 * (n - 1) - i
            i = min(max(i, 0), n - 1)
        index.append(i)
    return x[(slice(None), slice(None), *index)]


def read_between(x, where):
    total = 0.0
    where = [min(max(i, 0), n - 1) for i, n in zip(where, x.shape[2:], strict=True)]
    for corner in product((0, 1), repeat=len(where)):
        weight, index = 1.0, []
        for i, c, n in zip(where, corner, x.shape[2:], strict=True):
            weight *= (i - floor(i)) if c else 1 - (i - floor(i))
            index.append(min(floor(i) + c, n - 1))
        total = total + weight * x[(slice(None), slice(None), *index)]
    return total


@settings(max_examples=40, deadline=None)
@given(
    sizes=SIZES,
    groups=st.sampled_from([1, 2]),
    kernel_size=st.sampled_from([1, 3]),
    mode=st.sampled_from([("linear", "zeros"), ("nearest", "zeros"), ("nearest", "reflect"), ("nearest", "replicate")]),
    seed=st.integers(0, 99),
)
def test_equals_the_definition(sizes, groups, kernel_size, mode, seed):
    rng = np.random.default_rng(seed)
    n_in = [n for n, _, _ in sizes]
    n_out = [n * ratio + extra for n, ratio, extra in sizes]  # whole ratios, others, and 1
    x = rng.standard_normal((2, 4, *n_in))
    weights = rng.standard_normal((2, groups, kernel_size ** len(n_in), *n_out))
    found = reassemble(
        torch.from_numpy(x), torch.from_numpy(weights), kernel_size=kernel_size, taps=mode[0], border=mode[1]
    )
    np.testing.assert_allclose(found.numpy(), written_out(x, weights, kernel_size, *mode), atol=1e-12)


@pytest.mark.parametrize("n_out", [(6, 4), (7, 3), (3, 2), (5, 6)])
@pytest.mark.parametrize("mode", [("linear", "zeros"), ("nearest", "zeros"), ("nearest", "reflect")])
def test_gradients(n_out, mode):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 2, 9, *n_out, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: reassemble(x, w, kernel_size=3, taps=mode[0], border=mode[1]), (x, weights)
    )


def test_uniform_zero_border_fades_as_published():
    """A constant field under a uniform 5x5 kernel falls to 0.60 at an edge and 0.36 in a corner."""
    out = reassemble(torch.ones(1, 1, 9, 9), torch.full((1, 1, 25, 9, 9), 1 / 25), kernel_size=5)
    assert out[0, 0, 4, 4].item() == pytest.approx(1)
    assert out[0, 0, 0, 4].item() == pytest.approx(0.60)
    assert out[0, 0, 0, 0].item() == pytest.approx(0.36)


def test_gradient_of_x_is_whole_at_the_borders():
    """Uniform 3x3 kernels at ratio 2: the published kernel lost the last rows of this."""
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.full((1, 1, 9, 12, 12), 1.0, dtype=torch.float64)
    reassemble(x, weights, kernel_size=3, taps="linear").sum().backward()
    rows = x.grad.sum(1)[0].sum(1) / (3 * 12)
    torch.testing.assert_close(rows, rows.flip(0))
    assert rows.sum().item() == pytest.approx(36)


def test_single_taps_of_a_large_map_without_gradients(monkeypatch):
    """Part by part, at least a row at a time."""
    monkeypatch.setattr(torch_path, "SLAB_BYTES", 1)
    x, weights = torch.randn(1, 2, 5, 4), torch.randn(1, 1, 1, 10, 8)
    with torch.no_grad():
        found = reassemble(x, weights, kernel_size=1)
    torch.testing.assert_close(found, x.repeat_interleave(2, 2).repeat_interleave(2, 3) * weights[:, 0])


def test_empty_batch():
    out = reassemble(torch.zeros(0, 2, 3, 3), torch.zeros(0, 1, 9, 6, 6), kernel_size=3, taps="linear")
    assert out.shape == (0, 2, 6, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 2}, "kernel_size must be odd"),
        ({"taps": "cubic"}, "taps must be"),
        ({"border": "wrap"}, "border must be"),
        ({"kernel_size": 5}, "do not fit"),
    ],
)
def test_bad_arguments(changes, message):
    arguments = {"kernel_size": 3, **changes}
    with pytest.raises(ValueError, match=message):
        reassemble(torch.zeros(1, 2, 3, 3), torch.zeros(1, 1, 9, 6, 6), **arguments)
