"""Neighbor similarity: public function and choice of backend."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import nearest_indices, whole_ratios
from medups.ops.padding import pad_border
from medups.ops.similarity.reference import COSINE_EPS, Metric, similarity_reference
from medups.ops.taps.geometry import TapGeometry
from medups.ops.taps.operators import dot_products
from medups.ops.taps.shifts import magnified


def neighbor_similarity(
    query: Tensor,
    key: Tensor,
    *,
    kernel_size: int,
    dilation: int | Sequence[int] = 1,
    metric: Metric = "dot",
    backend: Backend | None = None,
) -> Tensor:
    """Similarity of each query pixel to the ``kernel_size**d`` key pixels around ``floor(p * in / out)``.

    Args:
        query: [B, E, *out].
        key: [B, E, *in].
        kernel_size: odd; neighbors are numbered row by row.
        dilation: key pixels between neighbors, one number or one per axis.
        metric: ``dot`` or ``cosine``.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, kernel_size**d, *out] in the query's dtype, sums in float32 or wider; 0 for neighbors outside the map.

    Raises:
        ValueError: mismatched shapes, an even kernel, an unknown metric, a backend that cannot run.
    """
    if query.ndim not in (4, 5) or query.ndim != key.ndim or query.shape[:2] != key.shape[:2]:
        raise ValueError(f"neighbor_similarity: query {tuple(query.shape)} and key {tuple(key.shape)} do not fit")
    steps = (dilation,) * (key.ndim - 2) if isinstance(dilation, int) else tuple(dilation)
    if kernel_size % 2 == 0 or kernel_size < 1 or min(steps) < 1:
        raise ValueError(
            f"neighbor_similarity: kernel_size must be odd and dilation positive, got {kernel_size} and {dilation}"
        )
    if metric not in ("dot", "cosine"):
        raise ValueError(f"neighbor_similarity: metric must be 'dot' or 'cosine', got {metric!r}")
    chosen = choose_backend(backend, query, key)
    if chosen == "reference":
        return similarity_reference(query, key, kernel_size, steps, metric)
    wide = wide_dtype(query.dtype)
    values, source = query, key
    if metric == "cosine":
        values = _unit(query.to(wide))
        source = values if key is query else _unit(key.to(wide))
    if chosen == "triton":
        from medups.ops.similarity import triton  # imports Triton, so only when needed

        return triton.similarity(values[:, None], source[:, None], kernel_size, steps)[:, 0].to(query.dtype)
    return _by_taps(source.to(wide), values.to(wide), kernel_size, steps).to(query.dtype)


def _unit(x: Tensor) -> Tensor:
    """Like torch's ``normalize``, but several times faster along channels, and with a gradient of 0 at 0."""
    return x * x.square().sum(1, keepdim=True).clamp_min(COSINE_EPS**2).rsqrt()


def _by_taps(key: Tensor, query: Tensor, kernel_size: int, dilation: tuple[int, ...]) -> Tensor:
    n_in, n_out = tuple(key.shape[2:]), tuple(query.shape[2:])
    ratios = whole_ratios(n_in, n_out) if key.shape[0] else None
    counts = (kernel_size,) * len(n_in)
    if ratios is not None:
        padded = pad_border(key, [step * (kernel_size // 2) for step in dilation], "zeros")
        source = magnified(padded, ratios, linear=False)
        shifts = tuple(step * ratio for step, ratio in zip(dilation, ratios, strict=True))
        return dot_products(source[:, None], query[:, None], TapGeometry(counts, n_out, shifts))[:, 0]
    indices, inside = nearest_indices(n_in, n_out, kernel_size, "zeros", key.device, dilation)
    scores = dot_products(key[:, None], query[:, None], TapGeometry(counts, n_out, None), indices)[:, 0]
    return scores if inside is None else scores * inside
