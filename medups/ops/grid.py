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

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype

LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
CONVS = {2: F.conv2d, 3: F.conv3d}


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


def nearest_taps(
    n_in: int, n_out: int, kernel_size: int, border: str, device: torch.device, dilation: int = 1
) -> Tensor:
    """[kernel_size, n_out] int64: the pixel that tap ``t`` of pixel ``p`` reads, -1 where it reads none.

    Taps lie ``dilation`` pixels apart around ``floor(p * n_in / n_out)``; beyond the map they read by ``border``,
    ``zeros``, ``reflect`` or ``replicate``.
    """
    taps = dilation * (torch.arange(kernel_size, device=device) - kernel_size // 2)
    index = torch.arange(n_out, device=device) * n_in // n_out + taps[:, None]
    if border == "zeros":
        return torch.where((index >= 0) & (index < n_in), index, -1)
    if border == "reflect" and n_in > 1:
        period = 2 * (n_in - 1)
        index = (n_in - 1) - ((index % period) - (n_in - 1)).abs()
    return index.clamp(0, n_in - 1)


def read_linear(x: Tensor, axis: int, floor: Tensor, fraction: Tensor) -> Tensor:
    """Values of ``x`` along ``axis`` at ``floor + fraction``, linear between pixels; indices are clamped."""
    last = x.shape[axis] - 1
    below = x.index_select(axis, floor.clamp(0, last))
    above = x.index_select(axis, (floor + 1).clamp(0, last))
    shape = [1] * x.ndim
    shape[axis] = -1
    return torch.lerp(below, above, fraction.to(x.dtype).reshape(shape))


def kept_pixels(n: int, step: int) -> int:
    """How many of ``n`` pixels remain when every ``step``-th is kept from the first on."""
    return max(1, n // step)


def resize_linear(
    x: Tensor, size: Sequence[int], *, margin: int = 0, step: int = 1, backend: Backend | None = None
) -> Tensor:
    """``x`` [B, C, *in] linearly resized to ``size``, pixel centres aligned (align_corners=False).

    Args:
        margin: pixels at both ends of each axis that lie beyond the map, and are read where interpolation needs them.
        step: make only every ``step``-th pixel, as :func:`kept_pixels` says.
        backend: see :mod:`medups.ops.backend`; None for the fastest.
    """
    if tuple(x.shape[2:]) == tuple(size) and margin == 0 and step == 1:
        return x
    if choose_backend(backend, x) == "triton":
        from medups.ops.gpu import taps  # not before it is needed: it imports Triton

        return taps.resize(x, size, margin, step)
    mode = LINEAR_MODES[len(size)]
    if margin == 0 and step == 1:
        return F.interpolate(x, size=tuple(size), mode=mode, align_corners=False)
    n_in = [n - 2 * margin for n in x.shape[2:]]
    ratios = [out // max(1, n) for n, out in zip(n_in, size, strict=True)]
    if step == 1 and all(ratio * n == out for ratio, n, out in zip(ratios, n_in, size, strict=True)):
        large = F.interpolate(x, scale_factor=[float(ratio) for ratio in ratios], mode=mode)
        return crop(large, [ratio * margin for ratio in ratios])
    resized = x.to(wide_dtype(x.dtype))
    for axis, (n, out) in enumerate(zip(n_in, size, strict=True)):
        floor, fraction = linear_position(n, out, x.device, resized.dtype)
        kept = slice(0, kept_pixels(out, step) * step, step)
        resized = read_linear(resized, 2 + axis, floor[kept] + margin, fraction[kept])
    return resized.to(x.dtype)


def pad_replicate(x: Tensor, pad: Sequence[int]) -> Tensor:
    """``x`` [B, C, *in] with ``pad`` more pixels at both ends of each axis, like those at its border."""
    if not x.is_cuda:
        return F.pad(x, [amount for one in reversed(pad) for amount in (one, one)], mode="replicate")
    for axis, amount in enumerate(pad):  # torch adds up the gradient of its own padding in no fixed order
        shape = list(x.shape)
        shape[2 + axis] = amount
        ends = (x.narrow(2 + axis, place, 1).expand(shape) for place in (0, x.shape[2 + axis] - 1))
        x = torch.cat([next(ends), x, next(ends)], 2 + axis)
    return x


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
