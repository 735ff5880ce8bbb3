"""Taps: the pixels around a place, read for all places at once.

A source [B, G, C/G, *in] is read tap by tap as maps [B, G, C/G, *out]. At whole ratios the source is enlarged
once and a tap is a shifted view of it; at other ratios a tap is a gather along each axis. Sums over taps and
dot products with taps are each other's gradients, and neither stores what a tap reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from medups.ops import taps_cpu
from medups.ops.dtypes import wide_dtype
from medups.ops.layout import Layout


def weighted_sum(
    source: Tensor, weights: Tensor, layout: Layout, indices: Sequence[Tensor] = (), *, plain: bool = False
) -> Tensor:
    """``out = sum_t weights[:, :, t] * tap t``: [B, G, C/G, *in] and [B, G, T, *out] -> [B, G, C/G, *out], wide.

    ``plain``: by torch's own operators, which is also what exported graphs hold.
    """
    if plain or torch.compiler.is_exporting():
        return _sum(source, weights, layout, indices)
    return _weighted_sum(source, weights, layout.counts, layout.size, _steps(layout), list(indices))


def dot_products(
    source: Tensor, values: Tensor, layout: Layout, indices: Sequence[Tensor] = (), *, plain: bool = False
) -> Tensor:
    """``out[:, :, t] = sum_c values * tap t``: [B, G, C/G, *in] and [B, G, C/G, *out] -> [B, G, T, *out], wide."""
    if plain or torch.compiler.is_exporting():
        return _dots(source, values, layout, indices)
    return _dot_products(source, values, layout.counts, layout.size, _steps(layout), list(indices))


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


def _blocked(layout: Layout, values: Tensor) -> bool:
    return layout.steps is not None and values.device.type == "cpu" and values.numel() > 0


# Operators of their own, so that a compiler sees one node for all taps and does not trace through them.


@torch.library.custom_op("medups::weighted_sum", mutates_args=())
def _weighted_sum(
    source: Tensor,
    weights: Tensor,
    counts: Sequence[int],
    size: Sequence[int],
    steps: Sequence[int],
    indices: list[Tensor],
) -> Tensor:
    layout = _layout(counts, size, steps)
    if _blocked(layout, source):
        return taps_cpu.weighted_sum(source, weights, layout)
    return _sum(source, weights, layout, indices)


@torch.library.custom_op("medups::dot_products", mutates_args=())
def _dot_products(
    source: Tensor,
    values: Tensor,
    counts: Sequence[int],
    size: Sequence[int],
    steps: Sequence[int],
    indices: list[Tensor],
) -> Tensor:
    layout = _layout(counts, size, steps)
    if _blocked(layout, source):
        return taps_cpu.dot_products(source, values, layout)
    return _dots(source, values, layout, indices)


@torch.library.custom_op("medups::spread_taps", mutates_args=())
def _spread_taps(
    source: Tensor,
    weights: Tensor,
    values: Tensor,
    counts: Sequence[int],
    size: Sequence[int],
    steps: Sequence[int],
    indices: list[Tensor],
) -> Tensor:
    layout = _layout(counts, size, steps)
    if _blocked(layout, source):
        return taps_cpu.spread_taps(source, weights, values, layout)
    return _spread(source, weights, values, layout, indices)


def _steps(layout: Layout) -> Sequence[int]:
    return (0,) * len(layout.counts) if layout.steps is None else layout.steps  # an operator takes no None


def _layout(counts: Sequence[int], size: Sequence[int], steps: Sequence[int]) -> Layout:
    return Layout(tuple(counts), tuple(size), tuple(steps) if max(steps) else None)


@_weighted_sum.register_fake
def _(source: Tensor, weights: Tensor, counts: Any, size: Any, steps: Any, indices: Any) -> Tensor:
    return source.new_empty(*source.shape[:3], *size, dtype=wide_dtype(source.dtype))


@_dot_products.register_fake
def _(source: Tensor, values: Tensor, counts: Any, size: Any, steps: Any, indices: Any) -> Tensor:
    return source.new_empty(*source.shape[:2], prod(counts), *size, dtype=wide_dtype(source.dtype))


@_spread_taps.register_fake
def _(source: Tensor, weights: Tensor, values: Tensor, counts: Any, size: Any, steps: Any, indices: Any) -> Tensor:
    return torch.empty_like(source, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: Any, output: Tensor) -> None:
    source, other, *ctx.layout, indices = inputs
    ctx.save_for_backward(source, other, *indices)


def _weighted_sum_backward(ctx: Any, grad: Tensor) -> Any:
    source, weights, *indices = ctx.saved_tensors
    to_source, to_weights = ctx.needs_input_grad[:2]
    return (
        _spread_taps(source, weights, grad, *ctx.layout, indices) if to_source else None,
        _dot_products(source, grad, *ctx.layout, indices).to(weights.dtype) if to_weights else None,
        None,
        None,
        None,
        [None] * len(indices),
    )


def _dot_products_backward(ctx: Any, grad: Tensor) -> Any:
    source, values, *indices = ctx.saved_tensors
    to_source, to_values = ctx.needs_input_grad[:2]
    return (
        _spread_taps(source, grad, values, *ctx.layout, indices) if to_source else None,
        _weighted_sum(source, grad, *ctx.layout, indices).to(values.dtype) if to_values else None,
        None,
        None,
        None,
        [None] * len(indices),
    )


_weighted_sum.register_autograd(_weighted_sum_backward, setup_context=_save)
_dot_products.register_autograd(_dot_products_backward, setup_context=_save)
