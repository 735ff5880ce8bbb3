"""Kernel logits from a paired difference, computed at each output pixel in ReSFU."""

from __future__ import annotations

import torch
from torch import Tensor

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import without_autocast
from medups.ops.kernel_prediction import fused
from medups.ops.kernel_prediction.layers import LogitLayers
from medups.ops.kernel_prediction.reference import kernel_logits_reference

__all__ = ["LogitLayers", "kernel_logits"]


_SMALL_GROUP = 8
"""Channels up to which one product with a block-diagonal matrix is faster than one product per group."""


def kernel_logits(
    around: Tensor,
    query: Tensor,
    layers: LogitLayers,
    *,
    norm_groups: int,
    eps: float = 1e-5,
    backend: Backend | None = None,
) -> Tensor:
    """``weight @ group_norm(relu(mix @ relu(around - center @ query) + mix_bias)) + bias`` at each pixel.

    Args:
        around: [B, M, *size], the keys' neighborhood; channels_last avoids a copy. Without gradients it is
            overwritten with intermediate results.
        query: [B, E, *size].
        layers: see :class:`LogitLayers`.
        norm_groups, eps: arguments of the group norm; statistics are float32 or wider.
        backend: see :mod:`medups.ops.backend`; None for the fastest. ``triton`` has no kernel and runs as ``torch``.

    Returns:
        [B, K, *size] in the dtype of ``around``.
    """
    dtype = around.dtype
    layers = layers.to(dtype)
    with without_autocast(around.device):
        if choose_backend(backend, around) == "reference":
            return kernel_logits_reference(around, query, layers, norm_groups, eps)
        if layers.mix.shape[1] <= _SMALL_GROUP:
            layers = layers._replace(mix=block_diagonal(layers.mix, len(layers.mix) // layers.mix.shape[1]))
        rows, queries = (value.to(dtype).movedim(1, -1).flatten(1, -2).contiguous() for value in (around, query))
        if torch.is_grad_enabled() and any(value.requires_grad for value in (rows, queries, *layers)):
            logits = fused.logits(rows, queries, *layers, norm_groups, eps)[0]
        else:
            logits = fused.logits_in_place(rows, queries, *layers, norm_groups, eps)
    return logits.unflatten(1, around.shape[2:]).movedim(-1, 1)


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """The matrix [M, C] of a grouped 1x1 convolution, from its weights [M, C // groups]."""
    return torch.block_diag(*weight.chunk(groups)) if groups > 1 else weight
