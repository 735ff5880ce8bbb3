"""Sums over shifted taps on a CPU, in strips of rows that stay in the cache for all taps.

Rows have the width of the source, so for any number of axes a tap is a contiguous range, shifted within the flattened
map. Columns beyond the output's width are zero in weights and values, and dropped from results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from medups.ops.dtypes import wide_dtype
from medups.ops.taps.geometry import TapGeometry

CACHED_ELEMENTS = 2**18
"""Elements that stay cached between operations: 1 MB of float32, the cache of one or two cores."""


def weighted_sum(source: Tensor, weights: Tensor, geometry: TapGeometry) -> Tensor:
    """[B, G, C, *large] and [B, G, T, *out] -> [B, G, C, *out]."""
    rows = _Rows(source, geometry)
    out = rows.source.new_empty(*source.shape[:3], *geometry.size)
    flat = rows.source.flatten(3)
    for first, count in rows.strips():
        length = rows.length(count)
        weight = rows.widened("weights", weights, first, count)
        total = rows.zeros("total", source.shape[:3], count)
        for number, shift in rows.shifts(first):
            total[..., :length].addcmul_(flat.narrow(3, shift, length), weight[:, :, number, None, :length])
        out.narrow(3, first, count).copy_(rows.narrowed(total))
    return out


def dot_products(source: Tensor, values: Tensor, geometry: TapGeometry) -> Tensor:
    """[B, G, C, *large] and [B, G, C, *out] -> [B, G, T, *out]."""
    rows = _Rows(source, geometry)
    out = rows.source.new_empty(*source.shape[:2], prod(geometry.counts), *geometry.size)
    flat = rows.source.flatten(3)
    for first, count in rows.strips():
        length = rows.length(count)
        value = rows.widened("values", values, first, count)[..., :length]
        total = rows.zeros("total", out.shape[:3], count)
        product = rows.memory("product", source.shape[:3], count)[..., :length]
        for number, shift in rows.shifts(first):
            torch.mul(value, flat.narrow(3, shift, length), out=product)
            torch.sum(product, 2, out=total[:, :, number, :length])
        out.narrow(3, first, count).copy_(rows.narrowed(total))
    return out


def spread_taps(source: Tensor, weights: Tensor, values: Tensor, geometry: TapGeometry) -> Tensor:
    """[B, G, T, *out] and [B, G, C, *out] -> [B, G, C, *large]."""
    rows = _Rows(source, geometry)
    total = torch.zeros_like(rows.source)
    flat = total.flatten(3)
    for first, count in rows.strips():
        length = rows.length(count)
        weight = rows.widened("weights", weights, first, count)
        value = rows.widened("values", values, first, count)
        for number, shift in rows.shifts(first):
            flat.narrow(3, shift, length).addcmul_(value[..., :length], weight[:, :, number, None, :length])
    return total.to(source.dtype)


class _Rows:
    """Rows of the output along its first axis, with the width of the source."""

    def __init__(self, source: Tensor, geometry: TapGeometry) -> None:
        self.geometry = geometry
        self.source = source.to(wide_dtype(source.dtype)).contiguous()
        self.inner = source.shape[4:]
        self.width = prod(self.inner)
        self.bases = [self._flat(geometry.start(source, tap)) for _, tap in geometry.taps()]
        self.step = max(1, CACHED_ELEMENTS // (prod(source.shape[:3]) * self.width))
        self._buffers: dict[str, Tensor] = {}

    def strips(self) -> Iterator[tuple[int, int]]:
        """The first row and the number of rows of each strip."""
        rows = self.geometry.size[0]
        for first in range(0, rows, self.step):
            yield first, min(self.step, rows - first)

    def shifts(self, first: int) -> Iterator[tuple[int, int]]:
        """The index of each tap, and where it starts for the strip that begins at row ``first``."""
        return ((number, base + first * self.width) for number, base in enumerate(self.bases))

    def length(self, count: int) -> int:
        """Number of elements in ``count`` rows, up to the last one needed."""
        return self._flat([count - 1, *(out - 1 for out in self.geometry.size[1:])]) + 1

    def widened(self, name: str, values: Tensor, first: int, count: int) -> Tensor:
        """[B, G, K, count * width]: rows of ``values`` [B, G, K, *out] with zeros up to the source's width.

        The memory is that of the previous strip's; its columns beyond the output are never written.
        """
        wide = self.memory(name, values.shape[:3], count)
        self._inside(wide.unflatten(3, (count, *self.inner))).copy_(values.narrow(3, first, count))
        return wide

    def zeros(self, name: str, shape: Sequence[int], count: int) -> Tensor:
        """[*shape, count * width] of zeros, in the memory of the previous strip's."""
        return self.memory(name, shape, count).zero_()

    def memory(self, name: str, shape: Sequence[int], count: int) -> Tensor:
        """[*shape, count * width], kept from strip to strip under this name; zero at first."""
        if name not in self._buffers:
            self._buffers[name] = self.source.new_zeros(*shape, count * self.width)
        return self._buffers[name].narrow(3, 0, count * self.width)

    def narrowed(self, rows: Tensor) -> Tensor:
        """The transpose of :meth:`widened`, as a view."""
        return self._inside(rows.unflatten(3, (-1, *self.inner)))

    def _flat(self, position: Sequence[int]) -> int:
        """The index in the flattened map of a position along all axes."""
        index, *rest = position
        for n, at in zip(self.inner, rest, strict=True):
            index = index * n + at
        return index

    def _inside(self, rows: Tensor) -> Tensor:
        for axis, out in enumerate(self.geometry.size[1:]):
            rows = rows.narrow(4 + axis, 0, out)
        return rows
