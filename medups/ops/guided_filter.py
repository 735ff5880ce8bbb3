"""The guided filter: the input, re-expressed as a locally linear function of a guide."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import kept_pixels, resize_linear


def take_every(x: Tensor, step: int) -> Tensor:
    """Every ``step``-th pixel along each spatial axis, as :func:`kept_pixels` says."""
    for axis in range(2, x.ndim):
        x = x[(slice(None),) * axis + (slice(0, kept_pixels(x.shape[axis], step) * step, step),)]
    return x


def box_mean(x: Tensor, radius: int, backend: Backend | None = None) -> Tensor:
    """Mean over the window of ``2 * radius + 1`` pixels along each axis, counting only pixels inside the image."""
    total = _BoxSum.apply(x, radius, choose_backend(backend, x))
    assert isinstance(total, Tensor)
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        pixels = torch.arange(n, device=x.device)
        count = (pixels + radius).clamp(max=n - 1) - (pixels - radius).clamp(min=0) + 1
        total = total * count.to(x.dtype).reciprocal().reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return total


class _BoxSum(torch.autograd.Function):
    """Sum over the window along each axis, zeros beyond the image: its own transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, radius: int, backend: Backend) -> Tensor:
        ctx.options = radius, backend
        for axis in range(2, x.ndim):
            x = _window_sum(x, axis, radius, backend)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _BoxSum.apply(grad, *ctx.options), None, None


def _window_sum(x: Tensor, axis: int, radius: int, backend: Backend) -> Tensor:
    """Sums of 1, 2, 4, ... pixels, each of two of the one before; those that make up the width are added."""
    if backend == "triton":
        from medups.ops.gpu.window import window_sum  # not before it is needed: it imports Triton

        return window_sum(x, axis, radius)
    n, width = x.shape[axis], 2 * radius + 1
    margins = [0] * (2 * (x.ndim - 1 - axis)) + [radius, radius]
    window, total = F.pad(x, margins), None
    size, start = 1, 0
    while size <= width:
        if width & size:
            part = window.narrow(axis, start, n)
            total = part if total is None else total + part
            start += size
        length = window.shape[axis] - size
        size *= 2
        if size <= width:
            window = window.narrow(axis, 0, length) + window.narrow(axis, size // 2, length)
    assert total is not None
    return total


def guided_filter(
    guide: Tensor, x: Tensor, *, radius: int, eps: float, subsample: int = 1, backend: Backend | None = None
) -> Tensor:
    """Guided filter of ``x`` by ``guide``, channel by channel.

    Args:
        guide: [B, C, *size], float32 or wider is used for all statistics.
        x: [B, C, *size], or already taken at the pixels that ``subsample`` keeps.
        radius: of the box in guide pixels; ``radius // subsample`` on the small grid.
        eps: added to the variance of the guide.
        subsample: statistics are taken on every ``subsample``-th pixel and read linearly in between.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, C, *size] in the dtype of ``guide``.

    Source: He et al., Fast Guided Filter (arXiv 1505.00996).
    """
    wide = wide_dtype(guide.dtype)
    small_guide = take_every(guide, subsample).to(wide)
    small_x = x if x.shape == small_guide.shape else take_every(x, subsample)
    if small_x.shape != small_guide.shape:
        raise ValueError(f"guided_filter: x of {tuple(x.shape)} does not fit guide of {tuple(guide.shape)}")
    chosen = choose_backend(backend, guide, x)
    a, b = _coefficients(small_guide, small_x.to(wide), radius // subsample, eps, chosen)
    slope, offset = (resize_linear(value, guide.shape[2:], backend=chosen) for value in (a, b))
    return (slope * guide.to(wide) + offset).to(guide.dtype)


def _coefficients(guide: Tensor, x: Tensor, radius: int, eps: float, backend: Backend) -> tuple[Tensor, Tensor]:
    """Local linear fit ``x = a * guide + b`` over boxes, averaged over the boxes a pixel lies in."""

    def mean(values: Tensor) -> Tensor:
        return box_mean(values, radius, backend)

    mean_guide, mean_x = mean(guide), mean(x)
    covariance = mean(guide * x) - mean_guide * mean_x
    variance = mean(guide * guide) - mean_guide * mean_guide
    a = covariance / (variance + eps)
    return mean(a), mean(mean_x - a * mean_guide)
