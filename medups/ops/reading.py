"""Reading a map along one axis, in the simplest form; the reference implementations use these functions."""

from __future__ import annotations

import torch
from torch import Tensor


def read_nearest_along(x: Tensor, axis: int, n_out: int, offset: int, border: str) -> Tensor:
    """``x`` along ``axis`` at pixel ``floor(p * n_in / n_out) + offset`` for each of ``n_out`` pixels ``p``."""
    n_in = x.shape[axis]
    index = torch.arange(n_out, device=x.device) * n_in // n_out + offset
    inside = (index >= 0) & (index < n_in)
    if border == "reflect" and n_in > 1:
        folded = index.remainder(2 * n_in - 2)
        index = torch.minimum(folded, 2 * n_in - 2 - folded)
    values = x.index_select(axis, index.clamp(0, n_in - 1))
    return values * _along(inside, axis, x.ndim).to(x.dtype) if border == "zeros" else values


def read_linear_along(x: Tensor, axis: int, n_out: int, offset: int = 0, margin: int = 0, step: int = 1) -> Tensor:
    """``x`` along ``axis`` at ``(p + 1/2) * n / n_out - 1/2 + offset``, linear between pixels, clamped to the map.

    Args:
        margin: pixels at each end of the axis that are outside the map; ``n`` excludes them.
        step: read every ``step``-th pixel ``p`` only, at least one.
    """
    n = x.shape[axis] - 2 * margin
    pixels = torch.arange(max(1, n_out // step), device=x.device) * step
    # in units of 1 / (2 n_out) pixels, so that floors are exact
    position = (2 * pixels + 1) * n - n_out + 2 * n_out * (offset + margin)
    position = position.clamp(0, 2 * n_out * (x.shape[axis] - 1))
    floor = torch.div(position, 2 * n_out, rounding_mode="floor")
    fraction = (position - floor * 2 * n_out).to(x.dtype) / (2 * n_out)
    upper = (floor + 1).clamp(max=x.shape[axis] - 1)
    return torch.lerp(x.index_select(axis, floor), x.index_select(axis, upper), _along(fraction, axis, x.ndim))


def _along(values: Tensor, axis: int, ndim: int) -> Tensor:
    return values.reshape([-1 if a == axis else 1 for a in range(ndim)])
