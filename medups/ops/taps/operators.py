"""Sums over taps and dot products with taps, as operators with custom gradients.

A source [B, G, C/G, *in] is read tap by tap as maps [B, G, C/G, *out]. At whole ratios the source is enlarged
once and a tap is a shifted view of it; at other ratios a tap is a gather along each axis. Each of the two
operations is the gradient of the other, and neither stores the values that a tap reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from medups.ops.dtypes import wide_dtype
from medups.ops.registration import operator
from medups.ops.taps import cpu
from medups.ops.taps.geometry import TapGeometry


def weighted_sum(source: Tensor, weights: Tensor, geometry: TapGeometry, indices: Sequence[Tensor] = ()) -> Tensor:
    """``out = sum_t weights[:, :, t] * tap t``: [B, G, C/G, *in] and [B, G, T, *out] -> [B, G, C/G, *out], wide."""
    return _weighted_sum(source, weights, geometry.counts, geometry.size, _steps(geometry), list(indices))


def dot_products(source: Tensor, values: Tensor, geometry: TapGeometry, indices: Sequence[Tensor] = ()) -> Tensor:
    """``out[:, :, t] = sum_c values * tap t``: [B, G, C/G, *in] and [B, G, C/G, *out] -> [B, G, T, *out], wide."""
    return _dot_products(source, values, geometry.counts, geometry.size, _steps(geometry), list(indices))


def _sum(source: Tensor, weights: Tensor, geometry: TapGeometry, indices: Sequence[Tensor]) -> Tensor:
    wide = wide_dtype(source.dtype)
    out = torch.zeros(*source.shape[:3], *geometry.size, dtype=wide, device=source.device)
    for number, tap in geometry.taps():
        out.addcmul_(geometry.read(source, indices, tap).to(wide), weights[:, :, number, None].to(wide))
    return out


def _dots(source: Tensor, values: Tensor, geometry: TapGeometry, indices: Sequence[Tensor]) -> Tensor:
    wide = wide_dtype(source.dtype)
    values = values.to(wide)
    return torch.stack(
        [(values * geometry.read(source, indices, tap).to(wide)).sum(2) for _, tap in geometry.taps()], 2
    )


def _spread(
    source: Tensor, weights: Tensor, values: Tensor, geometry: TapGeometry, indices: Sequence[Tensor]
) -> Tensor:
    """Gradient of the source: every tap adds its weight times ``values`` to the pixels that it read."""
    wide = wide_dtype(source.dtype)
    values = values.to(wide)
    total = torch.zeros(source.shape, dtype=wide, device=source.device)
    for number, tap in geometry.taps():
        geometry.add(total, indices, tap, values * weights[:, :, number, None].to(wide))
    return total.to(source.dtype)


def _fits_cpu_path(geometry: TapGeometry, values: Tensor) -> bool:
    return geometry.steps is not None and values.device.type == "cpu" and values.numel() > 0


# Registered operators, so that a compiler sees one node for all taps and does not trace through them.


@operator("medups::weighted_sum", mutates_args=())
def _weighted_sum(
    source: Tensor,
    weights: Tensor,
    counts: Sequence[int],
    size: Sequence[int],
    steps: Sequence[int],
    indices: list[Tensor],
) -> Tensor:
    geometry = _geometry(counts, size, steps)
    if _fits_cpu_path(geometry, source):
        return cpu.weighted_sum(source, weights, geometry)
    return _sum(source, weights, geometry, indices)


@operator("medups::dot_products", mutates_args=())
def _dot_products(
    source: Tensor,
    values: Tensor,
    counts: Sequence[int],
    size: Sequence[int],
    steps: Sequence[int],
    indices: list[Tensor],
) -> Tensor:
    geometry = _geometry(counts, size, steps)
    if _fits_cpu_path(geometry, source):
        return cpu.dot_products(source, values, geometry)
    return _dots(source, values, geometry, indices)


@operator("medups::spread_taps", mutates_args=())
def _spread_taps(
    source: Tensor,
    weights: Tensor,
    values: Tensor,
    counts: Sequence[int],
    size: Sequence[int],
    steps: Sequence[int],
    indices: list[Tensor],
) -> Tensor:
    geometry = _geometry(counts, size, steps)
    if _fits_cpu_path(geometry, source):
        return cpu.spread_taps(source, weights, values, geometry)
    return _spread(source, weights, values, geometry, indices)


def _steps(geometry: TapGeometry) -> Sequence[int]:
    return (0,) * len(geometry.counts) if geometry.steps is None else geometry.steps  # operators do not accept None


def _geometry(counts: Sequence[int], size: Sequence[int], steps: Sequence[int]) -> TapGeometry:
    return TapGeometry(tuple(counts), tuple(size), tuple(steps) if max(steps) else None)


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
    source, operand, *ctx.geometry, indices = inputs
    ctx.save_for_backward(source, operand, *indices)


def _weighted_sum_backward(ctx: Any, grad: Tensor) -> Any:
    source, weights, *indices = ctx.saved_tensors
    to_source, to_weights = ctx.needs_input_grad[:2]
    return (
        _spread_taps(source, weights, grad, *ctx.geometry, indices) if to_source else None,
        _dot_products(source, grad, *ctx.geometry, indices).to(weights.dtype) if to_weights else None,
        None,
        None,
        None,
        [None] * len(indices),
    )


def _dot_products_backward(ctx: Any, grad: Tensor) -> Any:
    source, values, *indices = ctx.saved_tensors
    to_source, to_values = ctx.needs_input_grad[:2]
    return (
        _spread_taps(source, grad, values, *ctx.geometry, indices) if to_source else None,
        _weighted_sum(source, grad, *ctx.geometry, indices).to(values.dtype) if to_values else None,
        None,
        None,
        None,
        [None] * len(indices),
    )


_weighted_sum.register_autograd(_weighted_sum_backward, setup_context=_save)
_dot_products.register_autograd(_dot_products_backward, setup_context=_save)
