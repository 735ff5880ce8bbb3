"""Positions of each output pixel's taps in a source map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from torch import Tensor


@dataclass(frozen=True)
class TapGeometry:
    """Taps as shifted views ``steps`` pixels apart, or as gathers by indices [count, out] if ``steps`` is None.

    Shifted views are centered in the source; source pixels outside all views are never read.

    Args:
        counts: taps along each axis.
        size: output size.
    """

    counts: tuple[int, ...]
    size: tuple[int, ...]
    steps: tuple[int, ...] | None

    def taps(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Index and position of every tap, row by row."""
        return enumerate(product(*map(range, self.counts)))

    def start(self, source: Tensor, tap: Sequence[int]) -> list[int]:
        """The first pixel of a tap's view along each axis."""
        assert self.steps is not None
        spans = zip(source.shape[3:], self.size, self.counts, self.steps, tap, strict=True)
        return [(n - out - step * (count - 1)) // 2 + step * at for n, out, count, step, at in spans]

    def view(self, source: Tensor, tap: Sequence[int]) -> Tensor:
        for axis, (first, length) in enumerate(zip(self.start(source, tap), self.size, strict=True)):
            source = source.narrow(3 + axis, first, length)
        return source

    def read(self, source: Tensor, indices: Sequence[Tensor], tap: Sequence[int]) -> Tensor:
        """The values that all output pixels read at a tap."""
        if self.steps is not None:
            return self.view(source, tap)
        for axis, (index, position) in enumerate(zip(indices, tap, strict=True)):
            source = source.index_select(3 + axis, index[position])
        return source

    def add(self, target: Tensor, indices: Sequence[Tensor], tap: Sequence[int], values: Tensor) -> None:
        """The transpose of :meth:`read`: add ``values`` to the pixels that were read."""
        if self.steps is not None:
            self.view(target, tap).add_(values)
            return
        for axis in reversed(range(len(tap))):
            shape = list(values.shape)
            shape[3 + axis] = target.shape[3 + axis]
            values = values.new_zeros(shape).index_add_(3 + axis, indices[axis][tap[axis]], values)
        target.add_(values)
