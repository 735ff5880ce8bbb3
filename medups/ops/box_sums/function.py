"""Box means: public function and choice of backend."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend
from medups.ops.box_sums.reference import box_mean_reference


def box_mean(x: Tensor, radius: int, backend: Backend | None = None) -> Tensor:
    """Mean of ``x`` [B, C, *size] over ``2 * radius + 1`` pixels along each axis, counting pixels inside the map only.

    Args:
        backend: see :mod:`medups.ops.backend`; None for the fastest.
    """
    chosen = choose_backend(backend, x)
    if chosen == "reference":
        return box_mean_reference(x, radius)
    total = _BoxSum.apply(x, radius, chosen)
    assert isinstance(total, Tensor)
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        pixels = torch.arange(n, device=x.device)
        count = (pixels + radius).clamp(max=n - 1) - (pixels - radius).clamp(min=0) + 1
        total = total * count.to(x.dtype).reciprocal().reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return total


class _BoxSum(torch.autograd.Function):
    """Window sum along each axis, zero-padded; a symmetric operator, so its gradient is the same sum."""

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
    """Compute sums of 1, 2, 4, ... pixels by doubling, and add those that make up the width."""
    if backend == "triton":
        from medups.ops.box_sums.triton import window_sum  # imports Triton, so only when needed

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
