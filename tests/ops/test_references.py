"""Each operator's reference and its fast path against its pixel-by-pixel definition.

The Triton kernels are compared with the references in test_gpu.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medups.ops import guided_filter, neighbor_similarity, paired_difference_conv, reassemble, sample_offsets
from medups.ops.blurring import gaussian_blur
from medups.ops.box_sums import box_mean
from medups.ops.kernel_prediction import LogitLayers, kernel_logits
from medups.ops.resized_norms import group_norm_as_resized
from medups.ops.resizing import resize_linear
from tests.ops import definitions

BACKEND = pytest.mark.parametrize("backend", ["reference", "torch"])
SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)), min_size=2, max_size=3)
# input and output sizes: integer ratios, fractional ratios, a single-pixel axis, a volume
PAIRS = pytest.mark.parametrize(
    ("n_in", "n_out"), [((3, 4), (6, 8)), ((3, 4), (5, 7)), ((1, 2), (4, 2)), ((2, 1, 3), (4, 3, 4))], ids=str
)


def compare(function, definition, *arrays, backend):
    """``function(*tensors, backend=...)`` against ``definition(*arrays)``, in float64."""
    expected = definition(*arrays)
    computed = function(*(torch.from_numpy(array) for array in arrays), backend=backend)
    np.testing.assert_allclose(computed.numpy(), expected, atol=1e-12)


@BACKEND
@settings(max_examples=30, deadline=None)
@given(
    sizes=SIZES,
    groups=st.sampled_from([1, 2]),
    kernel_size=st.sampled_from([1, 3]),
    mode=st.sampled_from([("linear", "zeros"), ("nearest", "zeros"), ("nearest", "reflect"), ("nearest", "replicate")]),
    seed=st.integers(0, 99),
)
def test_reassemble(backend, sizes, groups, kernel_size, mode, seed):
    rng = np.random.default_rng(seed)
    n_in = [n for n, _, _ in sizes]
    n_out = [n * ratio + extra for n, ratio, extra in sizes]
    taps, border = mode
    compare(
        lambda x, w, backend: reassemble(x, w, kernel_size=kernel_size, taps=taps, border=border, backend=backend),
        lambda x, w: definitions.reassembled(x, w, kernel_size, taps, border),
        rng.standard_normal((2, 4, *n_in)),
        rng.standard_normal((2, groups, kernel_size ** len(n_in), *n_out)),
        backend=backend,
    )


@BACKEND
@PAIRS
@pytest.mark.parametrize(("metric", "dilation"), [("dot", 1), ("cosine", 1), ("cosine", 2)])
def test_neighbor_similarity(backend, n_in, n_out, metric, dilation, rng):
    compare(
        lambda q, k, backend: neighbor_similarity(
            q, k, kernel_size=3, dilation=dilation, metric=metric, backend=backend
        ),
        lambda q, k: definitions.similarities(q, k, 3, [dilation] * len(n_in), metric),
        rng.standard_normal((2, 3, *n_out)),
        rng.standard_normal((2, 3, *n_in)),
        backend=backend,
    )


@BACKEND
@PAIRS
def test_resize_linear(backend, n_in, n_out, rng):
    x = rng.standard_normal((2, 3, *n_in))
    compare(
        lambda x, backend: resize_linear(x, n_out, backend=backend),
        lambda x: definitions.resized(x, n_out),
        x,
        backend=backend,
    )


@BACKEND
@PAIRS
def test_resize_linear_of_every_second_pixel_with_a_margin(backend, n_in, n_out, rng):
    """Interpolation reads the margin; pixels 0, 2, ... of the result are kept, at least one along each axis."""

    def definition(x):
        out = np.zeros((*x.shape[:2], *n_out))
        for p in definitions.pixels(n_out):
            position = definitions.between(p, n_in, n_out, [1] * len(n_in))
            out[(slice(None), slice(None), *p)] = definitions.read_between(x, position)
        return out[(slice(None), slice(None), *(slice(0, max(1, n // 2) * 2, 2) for n in n_out))]

    compare(
        lambda x, backend: resize_linear(x, n_out, margin=1, step=2, backend=backend),
        definition,
        rng.standard_normal((2, 3, *(n + 2 for n in n_in))),
        backend=backend,
    )


@BACKEND
@PAIRS
@pytest.mark.parametrize("groups", [1, 2])
def test_sample_offsets(backend, n_in, n_out, groups, rng):
    """Some offsets reach beyond the map."""
    compare(
        sample_offsets,
        definitions.sampled,
        rng.standard_normal((2, 4, *n_in)),
        1.5 * rng.standard_normal((2, len(n_in) * groups, *n_out)),
        backend=backend,
    )


@BACKEND
@pytest.mark.parametrize("radius", [0, 1, 2, 9])
@pytest.mark.parametrize("size", [(5, 7), (1, 4), (3, 4, 2)], ids=str)
def test_box_mean(backend, size, radius, rng):
    compare(
        lambda x, backend: box_mean(x, radius, backend),
        lambda x: definitions.window_means(x, radius),
        rng.standard_normal((2, 3, *size)),
        backend=backend,
    )


@BACKEND
@pytest.mark.parametrize("size", [(7, 9), (1, 5), (5, 4, 3)], ids=str)
def test_guided_filter(backend, size, rng):
    compare(
        lambda g, x, backend: guided_filter(g, x, radius=2, eps=1e-3, backend=backend),
        lambda g, x: definitions.regressed(g, x, 2, 1e-3),
        rng.standard_normal((2, 3, *size)),
        rng.standard_normal((2, 3, *size)),
        backend=backend,
    )


@BACKEND
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("n_in", "n_out"), [((4, 3), (4, 3)), ((2, 3), (5, 6)), ((2, 1, 2), (3, 2, 4))], ids=str)
def test_paired_difference_conv(backend, n_in, n_out, dilation, rng):
    dims = len(n_in)
    compare(
        lambda *a, backend: paired_difference_conv(*a, dilation=dilation, groups=2, backend=backend),
        lambda *a: definitions.paireddifferences(*a, [dilation] * dims, 2),
        rng.standard_normal((2, 4, *n_in)),
        rng.standard_normal((2, 4, *n_out)),
        rng.standard_normal((6, 2, *[3] * dims)),
        rng.standard_normal(6),
        backend=backend,
    )


@BACKEND
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (2, 3, 2)], ids=str)
def test_gaussian_blur(backend, size, rng):
    compare(gaussian_blur, definitions.blurred, rng.standard_normal((2, 3, *size)), backend=backend)


@BACKEND
@PAIRS
def test_group_norm_as_resized(backend, n_in, n_out, rng):
    compare(
        lambda x, w, b, backend: group_norm_as_resized(x, n_out, 2, w, b, backend=backend),
        lambda x, w, b: definitions.normalized(x, definitions.resized(x, n_out), 2, w, b),
        3 + rng.standard_normal((2, 4, *n_in)),
        rng.standard_normal(4),
        rng.standard_normal(4),
        backend=backend,
    )


@BACKEND
@pytest.mark.parametrize("size", [(3, 5), (1, 1), (2, 2, 3)], ids=str)
def test_kernel_logits(backend, size, rng):
    hidden, width, taps = 8, 4, 9
    compare(
        lambda around, query, *layers, backend: kernel_logits(
            around, query, LogitLayers(*layers), norm_groups=2, backend=backend
        ),
        lambda around, query, *layers: definitions.logits(around, query, LogitLayers(*layers), 2),
        rng.standard_normal((2, hidden, *size)),
        rng.standard_normal((2, width, *size)),
        rng.standard_normal((hidden, width)),
        rng.standard_normal((hidden, hidden // 2)),
        *(rng.standard_normal(hidden) for _ in range(3)),
        rng.standard_normal((taps, hidden)),
        rng.standard_normal(taps),
        backend=backend,
    )
