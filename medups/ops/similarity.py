"""How alike a pixel is to the input pixels around its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype
from medups.ops.layout import Layout
from medups.ops.reassemble import magnified, nearest_indices, whole_steps, with_margins
from medups.ops.taps import dot_products

Metric = Literal["dot", "cosine"]
_EPS = 1e-8  # of the norms in a cosine, as in torch.nn.functional.cosine_similarity


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
        kernel_size: odd; neighbours are taken row by row.
        dilation: key pixels between neighbours, one number or one for each axis.
        metric: ``dot`` or ``cosine``.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, kernel_size**d, *out] in the query's dtype, sums in float32 or wider; 0 for neighbours outside.

    Raises:
        ValueError: shapes that do not fit, an even kernel, an unknown metric, a backend that cannot run.
    """
    if query.ndim not in (4, 5) or query.ndim != key.ndim or query.shape[:2] != key.shape[:2]:
        raise ValueError(f"neighbor_similarity: query {tuple(query.shape)} and key {tuple(key.shape)} do not fit")
    spread = (dilation,) * (key.ndim - 2) if isinstance(dilation, int) else tuple(dilation)
    if kernel_size % 2 == 0 or kernel_size < 1 or min(spread) < 1:
        raise ValueError(
            f"neighbor_similarity: kernel_size must be odd and dilation positive, got {kernel_size} and {dilation}"
        )
    if metric not in ("dot", "cosine"):
        raise ValueError(f"neighbor_similarity: metric must be 'dot' or 'cosine', got {metric!r}")
    n_in, n_out = tuple(key.shape[2:]), tuple(query.shape[2:])
    wide = wide_dtype(query.dtype)
    values, source = query, key
    if metric == "cosine":
        values, source = (F.normalize(z.to(wide), dim=1, eps=_EPS) for z in (values, source))
    chosen = choose_backend(backend, query, key)
    if chosen == "triton":
        from medups.ops.gpu import taps as gpu  # not before it is needed: it imports Triton

        return gpu.similarity(values[:, None], source[:, None], kernel_size, spread)[:, 0].to(query.dtype)
    values, source = values.to(wide), source.to(wide)
    steps = whole_steps(key, n_out)
    indices: Sequence[Tensor] = ()
    inside = None
    if steps is not None:
        margins = [step * (kernel_size // 2) for step in spread]
        source = magnified(with_margins(source, margins, "zeros"), steps, linear=False)
        steps = tuple(one * step for one, step in zip(spread, steps, strict=True))
    else:
        indices, inside = nearest_indices(n_in, n_out, kernel_size, "zeros", key.device, spread)
    layout = Layout((kernel_size,) * len(n_in), n_out, steps)
    scores = dot_products(source[:, None], values[:, None], layout, indices, plain=chosen == "reference")[:, 0]
    return (scores if inside is None else scores * inside).to(query.dtype)
