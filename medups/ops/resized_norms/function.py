"""Group normalization of a map by the statistics of its enlargement, without enlarging it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype, without_autocast
from medups.ops.grid import linear_position
from medups.ops.resized_norms.reference import group_norm_reference


def group_norm_as_resized(
    x: Tensor,
    size: Sequence[int],
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    *,
    backend: Backend | None = None,
) -> Tensor:
    """GroupNorm of ``x`` [B, C, *in] with the mean and variance of ``x`` linearly resized to ``size``.

    Resizing is linear and separable, so the mean is a weighted mean of ``x`` and the second moment a quadratic form
    that is tridiagonal along each axis. The result is exact.

    Args:
        groups: number of channel groups.
        weight, bias: [C].
        backend: see :mod:`medups.ops.backend`; None for the fastest. ``triton`` has no kernel and runs as ``torch``.

    Returns:
        [B, C, *in] in the dtype of ``x``; statistics are float32 or wider.
    """
    with without_autocast(x.device):
        if choose_backend(backend, x, in_graphs="torch") == "reference":
            return group_norm_reference(x, size, groups, weight, bias, eps)
        return _as_resized(x, size, groups, weight, bias, eps)


def _as_resized(x: Tensor, size: Sequence[int], groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    batch, channels = x.shape[:2]
    wide = wide_dtype(x.dtype)
    grouped = x.to(wide).reshape(batch, groups, channels // groups, *x.shape[2:])
    mean, moments = grouped, []
    for axis, n_out in enumerate(size):
        reading = _reading_matrix(x.shape[2 + axis], n_out, x.device, wide)
        moments.append(reading.T @ reading / n_out)
        mean = _along(mean, 3 + axis, reading.mean(0, keepdim=True))
    mean = mean.mean(2, keepdim=True)
    centered = grouped - mean
    product = centered
    for axis, moment in enumerate(moments):
        product = _along(product, 3 + axis, moment)
    spatial = tuple(range(3, grouped.ndim))
    variance = (centered * product).sum(spatial, keepdim=True).mean(2, keepdim=True)
    shape = (1, channels, *[1] * (x.ndim - 2))
    normalized = (centered * torch.rsqrt(variance + eps)).reshape(x.shape)
    return (normalized * weight.to(wide).reshape(shape) + bias.to(wide).reshape(shape)).to(x.dtype)


def _reading_matrix(n_in: int, n_out: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[n_out, n_in]: row p holds the input pixels' weights for output pixel p in linear resizing."""
    floor, fraction = linear_position(n_in, n_out, device, dtype)
    pixels = torch.arange(n_in, device=device)
    below = (floor.clamp(0, n_in - 1)[:, None] == pixels).to(dtype)
    above = ((floor + 1).clamp(0, n_in - 1)[:, None] == pixels).to(dtype)
    return torch.lerp(below, above, fraction[:, None])


def _along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    return torch.movedim(torch.movedim(x, axis, -1) @ matrix.T, -1, axis)
