"""Similarity by Triton kernels, as an operator that torch can compile, cast and check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from medups.ops.registration import operator
from medups.ops.taps.tables import KEEPS_TABLES, Taps
from medups.ops.taps.triton import dot_products, spread_taps, weighted_sum


def similarity(query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Tensor:
    """[B, G, C, *out] and [B, G, C, *in] -> [B, G, T, *out], zeros beyond the border."""
    return _similarity(query, key, kernel_size, list(dilation))


@operator("medups::gpu_similarity", mutates_args=(), tags=KEEPS_TABLES)
def _similarity(query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Tensor:
    return dot_products(key, query, Taps(kernel_size, tuple(dilation), linear=False)).to(query.dtype)


@operator("medups::gpu_similarity_backward", mutates_args=(), tags=KEEPS_TABLES)
def _similarity_backward(
    grad: Tensor, query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]
) -> tuple[Tensor, Tensor]:
    taps = Taps(kernel_size, tuple(dilation), linear=False)
    no_log_sums = grad.new_empty(0)
    to_query = weighted_sum(key, grad, no_log_sums, taps, softmax=False).to(query.dtype)
    return to_query, spread_taps(query, grad, no_log_sums, key, taps, softmax=False)


@_similarity.register_fake
def _(query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Tensor:
    return query.new_empty(*query.shape[:2], kernel_size ** len(dilation), *query.shape[3:])


@_similarity_backward.register_fake
def _(grad: Tensor, query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int]) -> Any:
    return query.new_empty(query.shape), key.new_empty(key.shape)


def _save_similarity(ctx: Any, inputs: Any, output: Tensor) -> None:
    query, key, *ctx.options = inputs
    ctx.save_for_backward(query, key)


def _differentiate_similarity(ctx: Any, grad: Tensor) -> Any:
    return *_similarity_backward(grad, *ctx.saved_tensors, *ctx.options), None, None


_similarity.register_autograd(_differentiate_similarity, setup_context=_save_similarity)
