"""Linear resizing: public function and choice of backend."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import LINEAR_MODES, kept_pixels, linear_position
from medups.ops.padding import crop
from medups.ops.resizing.reference import resize_reference


def resize_linear(
    x: Tensor, size: Sequence[int], *, margin: int = 0, step: int = 1, backend: Backend | None = None
) -> Tensor:
    """``x`` [B, C, *in] linearly resized to ``size``, pixel centers aligned (align_corners=False).

    Args:
        margin: pixels at both ends of each axis that are outside the map; interpolation may read them.
        step: compute every ``step``-th pixel only, as :func:`~medups.ops.grid.kept_pixels` counts them.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, C, *size], or every ``step``-th pixel, in the dtype of ``x``. Coordinates and sums are float32 or wider.
    """
    if tuple(x.shape[2:]) == tuple(size) and margin == 0 and step == 1:
        return x
    whole_map = margin == 0 and step == 1
    chosen = choose_backend(backend, x, in_graphs="torch" if whole_map else "reference")
    if chosen == "triton":
        from medups.ops.resizing.triton import resize  # imports Triton, so only when needed

        return resize(x, size, margin, step)
    if chosen == "reference":
        return resize_reference(x, size, margin, step)
    mode = LINEAR_MODES[len(size)]
    if whole_map:
        return F.interpolate(x, size=tuple(size), mode=mode, align_corners=False)
    n_in = [n - 2 * margin for n in x.shape[2:]]
    ratios = [out // max(1, n) for n, out in zip(n_in, size, strict=True)]
    if step == 1 and all(ratio * n == out for ratio, n, out in zip(ratios, n_in, size, strict=True)):
        large = F.interpolate(x, scale_factor=[float(ratio) for ratio in ratios], mode=mode)
        return crop(large, [ratio * margin for ratio in ratios])
    resized = x.to(wide_dtype(x.dtype))
    for axis, (n, out) in enumerate(zip(n_in, size, strict=True)):
        floor, fraction = linear_position(n, out, x.device, resized.dtype)
        selected = slice(0, kept_pixels(out, step) * step, step)
        resized = _read_linear(resized, 2 + axis, floor[selected] + margin, fraction[selected])
    return resized.to(x.dtype)


def _read_linear(x: Tensor, axis: int, floor: Tensor, fraction: Tensor) -> Tensor:
    """Values of ``x`` along ``axis`` at ``floor + fraction``, linear between pixels; indices are clamped."""
    last = x.shape[axis] - 1
    below = x.index_select(axis, floor.clamp(0, last))
    above = x.index_select(axis, (floor + 1).clamp(0, last))
    shape = [1] * x.ndim
    shape[axis] = -1
    return torch.lerp(below, above, fraction.to(x.dtype).reshape(shape))
