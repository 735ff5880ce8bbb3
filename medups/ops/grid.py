"""Where an output pixel sits on the input grid, in exact integer arithmetic.

Output pixel ``p`` of an axis of ``n_out`` pixels has its centre at ``(p + 1/2) * n_in / n_out - 1/2``
on an axis of ``n_in`` pixels. Doubling numerator and denominator keeps it a ratio of integers, so
floors and comparisons never depend on the floating-point type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def linear_position(n_in: int, n_out: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Floor (int64, from -1 to n_in - 1) and fraction (in [0, 1), ``dtype``) of every output pixel's position."""
    doubled = (2 * torch.arange(n_out, device=device) + 1) * n_in - n_out
    floor = torch.div(doubled, 2 * n_out, rounding_mode="floor")
    return floor, (doubled - floor * 2 * n_out).to(dtype) / (2 * n_out)


def tap_inside(n_in: int, n_out: int, kernel_size: int, device: torch.device) -> Tensor:
    """[kernel_size, n_out] bool: does tap ``t`` of pixel ``p``, at ``(p+1/2)*n_in/n_out + t``, lie in [0, n_in)?"""
    centre = (2 * torch.arange(n_out, device=device) + 1) * n_in
    taps = torch.arange(kernel_size, device=device) - kernel_size // 2
    position = centre + 2 * n_out * taps[:, None]
    return (position >= 0) & (position < 2 * n_out * n_in)


def read_linear(x: Tensor, axis: int, floor: Tensor, fraction: Tensor) -> Tensor:
    """Values of ``x`` along ``axis`` at ``floor + fraction``, linear between pixels; indices are clamped."""
    last = x.shape[axis] - 1
    below = x.index_select(axis, floor.clamp(0, last))
    above = x.index_select(axis, (floor + 1).clamp(0, last))
    shape = [1] * x.ndim
    shape[axis] = -1
    return torch.lerp(below, above, fraction.to(x.dtype).reshape(shape))


def resize_linear(x: Tensor, size: Sequence[int]) -> Tensor:
    """``x`` [B, C, *in] linearly resized to ``size``, pixel centres aligned (align_corners=False)."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode=LINEAR_MODES[x.ndim - 2], align_corners=False)


def crop(x: Tensor, margins: Sequence[int]) -> Tensor:
    """``x`` without ``margins`` pixels at both ends of each spatial axis."""
    inside = _Crop.apply(x, tuple(margins))
    assert isinstance(inside, Tensor)
    return inside


class _Crop(torch.autograd.Function):
    """All axes at once: slicing one by one, torch would fill a map for each of them in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, margins: tuple[int, ...]) -> Tensor:
        ctx.margins = margins
        for axis, margin in enumerate(margins):
            x = x.narrow(2 + axis, margin, x.shape[2 + axis] - 2 * margin)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return F.pad(grad, [margin for margin in reversed(ctx.margins) for _ in range(2)]), None
