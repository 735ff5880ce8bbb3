"""Launching the kernels for sums over taps; for shapes see :mod:`medups.ops.taps.operators`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor

from medups.ops.dtypes import wide_dtype
from medups.ops.taps import kernels
from medups.ops.taps.tables import Axis, Taps, axes_of
from medups.ops.triton_launch import Blocks, launch, sum_type


def weighted_sum(source: Tensor, weights: Tensor, log_sums: Tensor, taps: Taps, softmax: bool) -> Tensor:
    """[B, G, C, *in] and [B, G, T, *out] -> [B, G, C, *out]; fills ``log_sums`` if weights are logits."""
    out = source.new_empty(*source.shape[:3], *weights.shape[3:])
    if not out.numel():
        return out
    large, small, weights_view = (_three_axes(value) for value in (out, source, weights))
    axes = _axes(small, large, taps)
    batch, groups, channels, *size = large.shape
    blocks = Blocks(channels, size[2])
    launch(
        kernels.weighted_sum, batch * groups * size[0] * size[1] * blocks.programs,
        small, weights_view, large, log_sums, *(axis.index for axis in axes), *(axis.fraction for axis in axes),
        channels, groups, *size, *small.stride(), *weights_view.stride(), *large.stride(),
        **_weighting(axes, softmax), ACC=sum_type(source), BLOCK_C=blocks.c, BLOCK_X=blocks.x, num_warps=blocks.warps,
    )  # fmt: skip
    return out


def dot_products(source: Tensor, values: Tensor, taps: Taps) -> Tensor:
    """[B, G, C, *in] and [B, G, C, *out] -> [B, G, pixel taps, *out] in float32 or wider."""
    small, large = _three_axes(source), _three_axes(values)
    axes = _axes(small, large, taps)
    counts = [axis.index.shape[0] for axis in axes]
    batch, groups, channels, *size = large.shape
    out = source.new_empty(batch, groups, prod(counts), *values.shape[3:], dtype=wide_dtype(source.dtype))
    if out.numel():
        blocks = Blocks(channels, size[2])
        launch(
            kernels.dot_products, batch * groups * size[0] * size[1] * blocks.along_x,
            small, large, out, *(axis.index for axis in axes), channels, groups, *size, *small.stride(),
            *large.stride(), *counts, ACC=sum_type(source), BLOCK_C=blocks.c, BLOCK_X=blocks.x, num_warps=blocks.warps,
        )  # fmt: skip
    return out


def spread_taps(values: Tensor, weights: Tensor, log_sums: Tensor, source: Tensor, taps: Taps, softmax: bool) -> Tensor:
    """The gradient of ``source`` [B, G, C, *in] from that of the sums [B, G, C, *out]."""
    out = source.new_zeros(source.shape)
    if not out.numel() or not values.numel():
        return out
    large, small, weights_view = (_three_axes(value) for value in (values, out, weights))
    axes = _axes(small, large, taps)
    batch, groups, channels, *size = small.shape
    blocks = Blocks(channels, size[2])
    launch(
        kernels.spread_taps, batch * groups * size[0] * size[1] * blocks.programs,
        large, weights_view, log_sums, small, *(axis.start for axis in axes), *(axis.tap for axis in axes),
        *(axis.pixel for axis in axes), *(axis.fraction for axis in axes), channels, groups, *size,
        *large.shape[3:], *large.stride(), *weights_view.stride(),
        **_weighting(axes, softmax), ACC=sum_type(source), BLOCK_C=blocks.c, BLOCK_X=blocks.x, num_warps=blocks.warps,
    )  # fmt: skip
    return out


def weight_gradient(
    dots: Tensor, weights: Tensor, log_sums: Tensor, source: Tensor, taps: Taps, softmax: bool
) -> Tensor:
    """The gradient of the weights from ``dots``, the products of output gradient and source at every tap."""
    out = weights.new_empty(weights.shape)
    if not out.numel():
        return out
    small, weights_view = _three_axes(source), _three_axes(weights)
    axes = _axes(small, weights_view, taps)
    batch, groups, _, *size = weights_view.shape
    blocks = Blocks(1, size[2])
    launch(
        kernels.weight_gradient, batch * groups * size[0] * size[1] * blocks.along_x,
        dots, weights_view, log_sums, out, *(axis.fraction for axis in axes), groups, *size, *weights_view.stride(),
        **_weighting(axes, softmax), ACC=sum_type(dots), BLOCK_X=blocks.x, num_warps=blocks.warps,
    )  # fmt: skip
    return out


def _three_axes(x: Tensor) -> Tensor:
    """A view of [B, G, C, *size] with three spatial axes."""
    return x.unsqueeze(3) if x.ndim == 5 else x


def _axes(small: Tensor, large: Tensor, taps: Taps) -> tuple[Axis, Axis, Axis]:
    return axes_of(tuple(small.shape[3:]), tuple(large.shape[3:]), taps, small.device, wide_dtype(small.dtype))


def _weighting(axes: Sequence[Axis], softmax: bool) -> dict[str, Any]:
    kz, ky, kx = (axis.kernel for axis in axes)
    corners = 2 ** sum(axis.linear for axis in axes)
    return {"KZ": kz, "KY": ky, "KX": kx, "CORNERS": corners, "SOFTMAX": softmax}
