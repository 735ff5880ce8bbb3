"""Reassembly by Triton kernels, as an operator that torch can compile, cast and check."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medups.ops.dtypes import wide_dtype
from medups.ops.registration import operator
from medups.ops.taps.tables import KEEPS_TABLES, Taps
from medups.ops.taps.triton import dot_products, spread_taps, weight_gradient, weighted_sum


def reassemble(x: Tensor, weights: Tensor, kernel_size: int, linear: bool, border: str, softmax: bool) -> Tensor:
    """[B, G, C, *in] and [B, G, T, *out] -> [B, G, C, *out]; see :func:`medups.ops.reassemble`."""
    return _reassemble(x, weights, kernel_size, linear, border, softmax)[0]


@operator("medups::gpu_reassemble", mutates_args=(), tags=KEEPS_TABLES)
def _reassemble(
    x: Tensor, weights: Tensor, kernel_size: int, linear: bool, border: str, softmax: bool
) -> tuple[Tensor, Tensor]:
    """The sums, and the logarithm of each softmax's denominator [B, G, *out]."""
    taps = _taps(x, kernel_size, linear, border)
    log_sums = _log_sums(x, weights, softmax)
    return weighted_sum(x, weights, log_sums, taps, softmax), log_sums


@operator("medups::gpu_reassemble_backward", mutates_args=(), tags=KEEPS_TABLES)
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
        weights_are_taps = not linear and not softmax
        weights_grad = (
            dots.to(weights.dtype) if weights_are_taps else weight_gradient(dots, weights, log_sums, x, taps, softmax)
        )
    return x_grad, weights_grad


@_reassemble.register_fake
def _(x: Tensor, weights: Tensor, kernel_size: int, linear: bool, border: str, softmax: bool) -> Any:
    return x.new_empty(*x.shape[:3], *weights.shape[3:]), _log_sums(x, weights, softmax)


@_reassemble_backward.register_fake
def _(grad: Tensor, x: Tensor, weights: Tensor, log_sums: Tensor, *rest: Any) -> Any:
    to_x, to_weights = rest[-2:]
    return x.new_empty(x.shape if to_x else (0,)), weights.new_empty(weights.shape if to_weights else (0,))


def _save_reassemble(ctx: Any, inputs: Any, output: Any) -> None:
    x, weights, *ctx.options = inputs
    ctx.save_for_backward(x, weights, output[1])
    ctx.set_materialize_grads(False)


def _differentiate_reassemble(ctx: Any, grad: Tensor, _: Any) -> Any:
    needed = ctx.needs_input_grad[:2]
    grads = _reassemble_backward(grad, *ctx.saved_tensors, *ctx.options, *needed)
    return *(value if need else None for value, need in zip(grads, needed, strict=True)), None, None, None, None


_reassemble.register_autograd(_differentiate_reassemble, setup_context=_save_reassemble)


def _taps(x: Tensor, kernel_size: int, linear: bool, border: str) -> Taps:
    return Taps(kernel_size, (1,) * (x.ndim - 3), linear, border)


def _log_sums(x: Tensor, weights: Tensor, softmax: bool) -> Tensor:
    size = (*weights.shape[:2], *weights.shape[3:]) if softmax else (0,)
    return x.new_empty(size, dtype=wide_dtype(x.dtype))  # the dtype that kernels accumulate in
