"""Reading a map along one axis, in the simplest form; the reference implementations use these functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Reading(NamedTuple):
    """The input pixels that each pixel of an output axis reads.

    Args:
        lower: pixels [n].
        upper, fraction: the next pixels [n] and their weight [n, 1, ...], for linear reading; None for nearest.
        outside: bool [n, 1, ...], pixels outside the map, which are 0; None if there are none.
    """

    lower: Tensor
    upper: Tensor | None = None
    fraction: Tensor | None = None
    outside: Tensor | None = None

    def along(self, x: Tensor, axis: int) -> Tensor:
        """The values of ``x`` that are read along ``axis``."""
        values = x.index_select(axis, self.lower)
        if self.upper is not None and self.fraction is not None:
            values = torch.lerp(values, x.index_select(axis, self.upper), self.fraction)
        return values if self.outside is None else values.masked_fill(self.outside, 0)


def nearest_reading(x: Tensor, axis: int, n_out: int, offset: int, border: str) -> Reading:
    """Pixel ``floor(p * n_in / n_out) + offset`` for each of ``n_out`` pixels ``p``."""
    n_in = x.shape[axis]
    index = torch.arange(n_out, device=x.device) * n_in // n_out + offset
    outside = _per_pixel((index < 0) | (index >= n_in), x, axis) if border == "zeros" and offset else None
    if border == "reflect" and n_in > 1:
        folded = index.remainder(2 * n_in - 2)
        index = torch.minimum(folded, 2 * n_in - 2 - folded)
    return Reading(index.clamp(0, n_in - 1), outside=outside)


def linear_reading(x: Tensor, axis: int, n_out: int, offset: int = 0, margin: int = 0, step: int = 1) -> Reading:
    """Position ``(p + 1/2) * n / n_out - 1/2 + offset``, linear between pixels, clamped to the map.

    Args:
        margin: pixels at each end of the axis that are outside the map; ``n`` excludes them.
        step: read every ``step``-th pixel ``p`` only, at least one.
    """
    n = x.shape[axis] - 2 * margin
    pixels = torch.arange(max(1, n_out // step), device=x.device) * step
    # in units of 1 / (2 n_out) pixels, so that floors are exact
    position = (2 * pixels + 1) * n - n_out + 2 * n_out * (offset + margin)
    position = position.clamp(0, 2 * n_out * (x.shape[axis] - 1))
    lower = torch.div(position, 2 * n_out, rounding_mode="floor")
    fraction = (position - lower * 2 * n_out).to(x.dtype) / (2 * n_out)
    return Reading(lower, (lower + 1).clamp(max=x.shape[axis] - 1), _per_pixel(fraction, x, axis))


def _per_pixel(values: Tensor, x: Tensor, axis: int) -> Tensor:
    """One value per pixel of ``axis`` as a factor of ``x``."""
    return values.reshape([-1] + [1] * (x.ndim - axis - 1))


def every_tap(x: Tensor, readings: Sequence[Sequence[Reading]]) -> Iterator[Tensor]:
    """``x`` read at every combination of one reading per axis, row by row; the readings are of the last axes."""
    if not readings:
        yield x
        return
    for reading in readings[0]:
        yield from every_tap(reading.along(x, x.ndim - len(readings)), readings[1:])
