"""Linear resizing by Triton kernels, as an operator that torch can compile, cast and check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from medups.ops.grid import kept_pixels
from medups.ops.registration import operator
from medups.ops.taps.tables import KEEPS_TABLES, Taps
from medups.ops.taps.triton import spread_taps, weighted_sum


def resize(x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    """[B, C, *in] -> [B, C, *out]; see :func:`medups.ops.resizing.resize_linear`."""
    return _resize(x, list(size), margin, step)


@operator("medups::gpu_resize", mutates_args=(), tags=KEEPS_TABLES)
def _resize(x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    taps = Taps(1, (1,) * len(size), linear=True, margin=margin, step=step, grid=tuple(size))
    return weighted_sum(x[:, None], _ones(x, size, step), x.new_empty(0), taps, softmax=False)[:, 0]


@operator("medups::gpu_resize_backward", mutates_args=(), tags=KEEPS_TABLES)
def _resize_backward(grad: Tensor, x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    taps = Taps(1, (1,) * len(size), linear=True, margin=margin, step=step, grid=tuple(size))
    no_log_sums = x.new_empty(0)
    return spread_taps(grad[:, None], _ones(x, size, step), no_log_sums, x[:, None], taps, softmax=False)[:, 0]


def _ones(x: Tensor, size: Sequence[int], step: int) -> Tensor:
    """The weight of the only tap, expanded from a single element."""
    return x.new_ones(()).expand(x.shape[0], 1, 1, *(kept_pixels(n, step) for n in size))


@_resize.register_fake
def _(x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    return x.new_empty(*x.shape[:2], *(kept_pixels(n, step) for n in size))


@_resize_backward.register_fake
def _(grad: Tensor, x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    return x.new_empty(x.shape)


def _save_resize(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, *ctx.options = inputs
    ctx.save_for_backward(x)


def _differentiate_resize(ctx: Any, grad: Tensor) -> Any:
    return _resize_backward(grad, *ctx.saved_tensors, *ctx.options), None, None, None


_resize.register_autograd(_differentiate_resize, setup_context=_save_resize)
