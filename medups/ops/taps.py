"""Taps: the pixels around a place, read for all places at once.

A source [B, G, C/G, *in] is read tap by tap as maps [B, G, C/G, *out]. At whole ratios the source is enlarged
once and a tap is a shifted view of it; at other ratios a tap is a gather along each axis. Sums over taps and
dot products with taps are each other's gradients, and neither stores what a tap reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where taps lie: ``steps`` between shifted views, or None where indices [count, out] are gathered."""

    counts: tuple[int, ...]
    size: tuple[int, ...]
    steps: tuple[int, ...] | None

    def taps(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Number and position of every tap, row by row."""
        return enumerate(product(*map(range, self.counts)))

    def view(self, source: Tensor, tap: Sequence[int]) -> Tensor:
        assert self.steps is not None
        for axis, (step, position, length) in enumerate(zip(self.steps, tap, self.size, strict=True)):
            source = source.narrow(3 + axis, step * position, length)
        return source

    def read(self, source: Tensor, indices: Sequence[Tensor], tap: Sequence[int]) -> Tensor:
        """What all output pixels read at one tap."""
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


def weighted_sum(source: Tensor, weights: Tensor, layout: Layout, indices: Sequence[Tensor] = ()) -> Tensor:
    """``out = sum_t weights[:, :, t] * tap t``: [B, G, C/G, *in] and [B, G, T, *out] -> [B, G, C/G, *out], wide."""
    if torch.is_grad_enabled() and (source.requires_grad or weights.requires_grad):
        return _WeightedSum.apply(source, weights, layout.counts, layout.size, layout.steps, *indices)
    return _sum(source, weights, layout, indices)


def dot_products(source: Tensor, values: Tensor, layout: Layout, indices: Sequence[Tensor] = ()) -> Tensor:
    """``out[:, :, t] = sum_c values * tap t``: [B, G, C/G, *in] and [B, G, C/G, *out] -> [B, G, T, *out], wide."""
    if torch.is_grad_enabled() and (source.requires_grad or values.requires_grad):
        return _DotProducts.apply(source, values, layout.counts, layout.size, layout.steps, *indices)
    return _dots(source, values, layout, indices)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """What sums and statistics are taken in: float32 or wider."""
    return torch.promote_types(dtype, torch.float32)


def _sum(source: Tensor, weights: Tensor, layout: Layout, indices: Sequence[Tensor]) -> Tensor:
    wide = wide_dtype(source.dtype)
    out = torch.zeros(*source.shape[:3], *layout.size, dtype=wide, device=source.device)
    for number, tap in layout.taps():
        out.addcmul_(layout.read(source, indices, tap).to(wide), weights[:, :, number, None].to(wide))
    return out


def _dots(source: Tensor, values: Tensor, layout: Layout, indices: Sequence[Tensor]) -> Tensor:
    wide = wide_dtype(source.dtype)
    values = values.to(wide)
    return torch.stack([(values * layout.read(source, indices, tap).to(wide)).sum(2) for _, tap in layout.taps()], 2)


def _spread(source: Tensor, weights: Tensor, values: Tensor, layout: Layout, indices: Sequence[Tensor]) -> Tensor:
    """Gradient of the source: every tap gives its weight times ``values`` back to the pixels it read."""
    wide = wide_dtype(source.dtype)
    values = values.to(wide)
    total = torch.zeros(source.shape, dtype=wide, device=source.device)
    for number, tap in layout.taps():
        layout.add(total, indices, tap, values * weights[:, :, number, None].to(wide))
    return total.to(source.dtype)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, weights: Tensor, counts: Any, size: Any, steps: Any, *indices: Tensor) -> Any:
        ctx.save_for_backward(source, weights, *indices)
        ctx.layout = (counts, size, steps)
        return _sum(source, weights, Layout(counts, size, steps), indices)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        source, weights, *indices = ctx.saved_tensors
        layout = Layout(*ctx.layout)
        to_source = _spread(source, weights, grad, layout, indices) if ctx.needs_input_grad[0] else None
        to_weights = _dots(source, grad, layout, indices).to(weights.dtype) if ctx.needs_input_grad[1] else None
        return to_source, to_weights, None, None, None, *[None] * len(indices)


class _DotProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, values: Tensor, counts: Any, size: Any, steps: Any, *indices: Tensor) -> Any:
        ctx.save_for_backward(source, values, *indices)
        ctx.layout = (counts, size, steps)
        return _dots(source, values, Layout(counts, size, steps), indices)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        source, values, *indices = ctx.saved_tensors
        layout = Layout(*ctx.layout)
        to_source = _spread(source, grad, values, layout, indices) if ctx.needs_input_grad[0] else None
        to_values = _sum(source, grad, layout, indices).to(values.dtype) if ctx.needs_input_grad[1] else None
        return to_source, to_values, None, None, None, *[None] * len(indices)
