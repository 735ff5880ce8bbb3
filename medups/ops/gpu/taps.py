"""Reassembly and similarity by the kernels, as operators that torch can compile, cast and check."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from medups.ops.dtypes import wide_dtype
from medups.ops.gpu.kernels import taps as kernels
from medups.ops.gpu.launch import Blocks, launch, sum_type
from medups.ops.gpu.tables import KEEPS_TABLES, Axis, Taps, axes_of
from medups.ops.grid import kept_pixels


def reassemble(x: Tensor, weights: Tensor, kernel_size: int, linear: bool, border: str, softmax: bool) -> Tensor:
    """[B, G, C, *in] and [B, G, T, *out] -> [B, G, C, *out]; see :func:`medups.ops.reassemble`."""
    return _reassemble(x, weights, kernel_size, linear, border, softmax)[0]


def similarity(query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Tensor:
    """[B, G, C, *out] and [B, G, C, *in] -> [B, G, T, *out], zeros beyond the border."""
    return _similarity(query, key, kernel_size, list(dilation))


def resize(x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    """[B, C, *in] -> [B, C, *out]; see :func:`medups.ops.grid.resize_linear`."""
    return _resize(x, list(size), margin, step)


@torch.library.custom_op("medups::gpu_reassemble", mutates_args=(), tags=KEEPS_TABLES)
def _reassemble(
    x: Tensor, weights: Tensor, kernel_size: int, linear: bool, border: str, softmax: bool
) -> tuple[Tensor, Tensor]:
    """The sums, and the logarithm of each softmax's denominator [B, G, *out]."""
    taps = _taps(x, kernel_size, linear, border)
    log_sums = _log_sums(x, weights, softmax)
    return weighted_sum(x, weights, log_sums, taps, softmax), log_sums


@torch.library.custom_op("medups::gpu_reassemble_backward", mutates_args=(), tags=KEEPS_TABLES)
def _reassemble_backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    log_sums: Tensor,
    kernel_size: int,
    linear: bool,
    border: str,
    softmax: bool,
    to_x: bool,
    to_weights: bool,
) -> tuple[Tensor, Tensor]:
    taps = _taps(x, kernel_size, linear, border)
    x_grad, weights_grad = x.new_empty(0), x.new_empty(0)
    if to_x:
        x_grad = spread_taps(grad, weights, log_sums, x, taps, softmax)
    if to_weights:
        dots = dot_products(x, grad, taps)
        plain = not linear and not softmax
        weights_grad = dots.to(weights.dtype) if plain else _weight_gradient(dots, weights, log_sums, x, taps, softmax)
    return x_grad, weights_grad


@torch.library.custom_op("medups::gpu_similarity", mutates_args=(), tags=KEEPS_TABLES)
def _similarity(query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Tensor:
    return dot_products(key, query, Taps(kernel_size, tuple(dilation), linear=False)).to(query.dtype)


@torch.library.custom_op("medups::gpu_similarity_backward", mutates_args=(), tags=KEEPS_TABLES)
def _similarity_backward(
    grad: Tensor, query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]
) -> tuple[Tensor, Tensor]:
    taps = Taps(kernel_size, tuple(dilation), linear=False)
    none = grad.new_empty(0)
    to_query = weighted_sum(key, grad, none, taps, softmax=False).to(query.dtype)
    return to_query, spread_taps(query, grad, none, key, taps, softmax=False)


@torch.library.custom_op("medups::gpu_resize", mutates_args=(), tags=KEEPS_TABLES)
def _resize(x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    taps = Taps(1, (1,) * len(size), linear=True, margin=margin, step=step, grid=tuple(size))
    return weighted_sum(x[:, None], _ones(x, size, step), x.new_empty(0), taps, softmax=False)[:, 0]


@torch.library.custom_op("medups::gpu_resize_backward", mutates_args=(), tags=KEEPS_TABLES)
def _resize_backward(grad: Tensor, x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    taps = Taps(1, (1,) * len(size), linear=True, margin=margin, step=step, grid=tuple(size))
    none = x.new_empty(0)
    return spread_taps(grad[:, None], _ones(x, size, step), none, x[:, None], taps, softmax=False)[:, 0]


def _ones(x: Tensor, size: Sequence[int], step: int) -> Tensor:
    """The weight of the only tap, in no memory of its own."""
    return x.new_ones(()).expand(x.shape[0], 1, 1, *(kept_pixels(n, step) for n in size))


@_reassemble.register_fake
def _(x: Tensor, weights: Tensor, kernel_size: int, linear: bool, border: str, softmax: bool) -> Any:
    return x.new_empty(*x.shape[:3], *weights.shape[3:]), _log_sums(x, weights, softmax)


@_reassemble_backward.register_fake
def _(grad: Tensor, x: Tensor, weights: Tensor, log_sums: Tensor, *rest: Any) -> Any:
    to_x, to_weights = rest[-2:]
    return x.new_empty(x.shape if to_x else (0,)), weights.new_empty(weights.shape if to_weights else (0,))


@_similarity.register_fake
def _(query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Tensor:
    return query.new_empty(*query.shape[:2], kernel_size ** len(dilation), *query.shape[3:])


@_similarity_backward.register_fake
def _(grad: Tensor, query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Any:
    return query.new_empty(query.shape), key.new_empty(key.shape)


@_resize.register_fake
def _(x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    return x.new_empty(*x.shape[:2], *(kept_pixels(n, step) for n in size))


@_resize_backward.register_fake
def _(grad: Tensor, x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    return x.new_empty(x.shape)


def _save_reassemble(ctx: Any, inputs: Any, output: Any) -> None:
    x, weights, *ctx.options = inputs
    ctx.save_for_backward(x, weights, output[1])
    ctx.set_materialize_grads(False)


def _differentiate_reassemble(ctx: Any, grad: Tensor, _: Any) -> Any:
    needed = ctx.needs_input_grad[:2]
    grads = _reassemble_backward(grad, *ctx.saved_tensors, *ctx.options, *needed)
    return *(value if need else None for value, need in zip(grads, needed, strict=True)), None, None, None, None


def _save_similarity(ctx: Any, inputs: Any, output: Tensor) -> None:
    query, key, *ctx.options = inputs
    ctx.save_for_backward(query, key)


def _differentiate_similarity(ctx: Any, grad: Tensor) -> Any:
    return *_similarity_backward(grad, *ctx.saved_tensors, *ctx.options), None, None


def _save_resize(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, *ctx.options = inputs
    ctx.save_for_backward(x)


def _differentiate_resize(ctx: Any, grad: Tensor) -> Any:
    return _resize_backward(grad, *ctx.saved_tensors, *ctx.options), None, None, None


_reassemble.register_autograd(_differentiate_reassemble, setup_context=_save_reassemble)
_similarity.register_autograd(_differentiate_similarity, setup_context=_save_similarity)
_resize.register_autograd(_differentiate_resize, setup_context=_save_resize)


def weighted_sum(source: Tensor, weights: Tensor, log_sums: Tensor, taps: Taps, softmax: bool) -> Tensor:
    """[B, G, C, *in] and [B, G, T, *out] -> [B, G, C, *out]; fills ``log_sums`` where weights are logits."""
    out = source.new_empty(*source.shape[:3], *weights.shape[3:])
    if not out.numel():
        return out
    large, small, given = (_three_axes(value) for value in (out, source, weights))
    axes = _axes(small, large, taps)
    batch, groups, channels, *size = large.shape
    blocks = Blocks(channels, size[2])
    launch(
        kernels.weighted_sum, batch * groups * size[0] * size[1] * blocks.programs,
        small, given, large, log_sums, *(axis.index for axis in axes), *(axis.fraction for axis in axes),
        channels, groups, *size, *small.stride(), *given.stride(), *large.stride(),
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
    large, small, given = (_three_axes(value) for value in (values, out, weights))
    axes = _axes(small, large, taps)
    batch, groups, channels, *size = small.shape
    blocks = Blocks(channels, size[2])
    launch(
        kernels.spread_taps, batch * groups * size[0] * size[1] * blocks.programs,
        large, given, log_sums, small, *(axis.start for axis in axes), *(axis.tap for axis in axes),
        *(axis.pixel for axis in axes), *(axis.fraction for axis in axes), channels, groups, *size,
        *large.shape[3:], *large.stride(), *given.stride(),
        **_weighting(axes, softmax), ACC=sum_type(source), BLOCK_C=blocks.c, BLOCK_X=blocks.x, num_warps=blocks.warps,
    )  # fmt: skip
    return out


def _weight_gradient(
    dots: Tensor, weights: Tensor, log_sums: Tensor, source: Tensor, taps: Taps, softmax: bool
) -> Tensor:
    out = weights.new_empty(weights.shape)
    if not out.numel():
        return out
    small, given = _three_axes(source), _three_axes(weights)
    axes = _axes(small, given, taps)
    batch, groups, _, *size = given.shape
    blocks = Blocks(1, size[2])
    launch(
        kernels.weight_gradient, batch * groups * size[0] * size[1] * blocks.along_x,
        dots, given, log_sums, out, *(axis.fraction for axis in axes), groups, *size, *given.stride(),
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


def _taps(x: Tensor, kernel_size: int, linear: bool, border: str) -> Taps:
    return Taps(kernel_size, (1,) * (x.ndim - 3), linear, border)


def _log_sums(x: Tensor, weights: Tensor, softmax: bool) -> Tensor:
    size = (*weights.shape[:2], *weights.shape[3:]) if softmax else (0,)
    return x.new_empty(size, dtype=wide_dtype(x.dtype))  # the type that kernels add up in
