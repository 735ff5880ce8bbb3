"""Reassembly: every output pixel is a weighted sum of input pixels around it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.grid import LINEAR_MODES, linear_position

Taps = Literal["nearest", "linear"]
Border = Literal["zeros", "reflect", "replicate"]


def reassemble(
    x: Tensor,
    weights: Tensor,
    *,
    kernel_size: int,
    taps: Taps = "nearest",
    border: Border = "zeros",
) -> Tensor:
    """Sum ``kernel_size**d`` taps of ``x`` around each output pixel, weighted by that pixel's own kernel.

    Args:
        x: [B, C, *in], d = 2 or 3 spatial axes, any floating dtype.
        weights: [B, G, kernel_size**d, *out], the taps row by row; G divides C and channels are group-major.
        kernel_size: odd, the same along every axis.
        taps: ``nearest``: taps are the input pixels around ``floor(p * in / out)``. ``linear``: taps are
            one input pixel apart around ``(p + 1/2) * in / out - 1/2``, read by linear interpolation, each
            clamped to the grid, so ``border`` is not used.
        border: what ``nearest`` taps outside the grid read.

    Returns:
        [B, C, *out] in the dtype of ``x``; sums are taken in float32 or wider.

    Raises:
        ValueError: shapes that do not fit, an even kernel, unknown ``taps`` or ``border``.

    At whole ratios ``x`` is enlarged once and each tap is a shifted view of it. At other ratios taps are
    gathered; the linear form then uses an exact identity: ``K**d`` interpolated taps equal ``(K+1)**d`` pixel
    taps whose weights are the kernel convolved with the interpolation weights.
    """
    _check(x, weights, kernel_size, taps, border)
    n_in, n_out = x.shape[2:], weights.shape[3:]
    steps = [out // max(1, small) for small, out in zip(n_in, n_out, strict=True)]
    whole = all(step >= 1 and step * small == out for step, small, out in zip(steps, n_in, n_out, strict=True))
    reflectable = border != "reflect" or min(n_in) > kernel_size // 2
    if whole and x.numel() and (taps == "linear" or reflectable):
        return _ShiftedTaps.apply(_enlarged(x, steps, kernel_size // 2, taps, border), weights, steps)
    if taps == "linear":
        weights, indices = _linear_taps(x, weights, kernel_size)
    else:
        weights, indices = _nearest_taps(x, weights, kernel_size, border)
    return _GatherTaps.apply(x, weights, *indices)


def _check(x: Tensor, weights: Tensor, kernel_size: int, taps: str, border: str) -> None:
    dims = x.ndim - 2
    if dims not in (1, 2, 3) or weights.ndim != x.ndim + 1:
        raise ValueError(
            f"reassemble: x must be [B, C, *in] and weights [B, G, K**d, *out]; "
            f"got {tuple(x.shape)} and {tuple(weights.shape)}"
        )
    if kernel_size % 2 == 0 or kernel_size < 1:
        raise ValueError(f"reassemble: kernel_size must be odd and positive, got {kernel_size}")
    if weights.shape[0] != x.shape[0] or weights.shape[2] != kernel_size**dims or x.shape[1] % weights.shape[1]:
        raise ValueError(
            f"reassemble: weights of {tuple(weights.shape)} do not fit x of {tuple(x.shape)}: expected the same "
            f"batch, groups that divide {x.shape[1]} channels, and {kernel_size**dims} taps, kernel_size {kernel_size}"
        )
    if taps not in ("nearest", "linear"):
        raise ValueError(f"reassemble: taps must be 'nearest' or 'linear', got {taps!r}")
    if border not in ("zeros", "reflect", "replicate"):
        raise ValueError(f"reassemble: border must be 'zeros', 'reflect' or 'replicate', got {border!r}")


def _enlarged(x: Tensor, steps: list[int], reach: int, taps: str, border: str) -> Tensor:
    """``x`` with a border of ``reach`` pixels, enlarged by whole ``steps``: tap ``t`` is a shift by ``steps * t``."""
    margin = reach + 1 if taps == "linear" else reach
    mode = "constant" if taps == "nearest" and border == "zeros" else "replicate" if taps == "linear" else border
    padded = F.pad(x, [margin] * (2 * len(steps)), mode=mode)
    interpolation = LINEAR_MODES[len(steps)] if taps == "linear" else "nearest"
    large = F.interpolate(padded, scale_factor=[float(step) for step in steps], mode=interpolation)
    for axis, step in enumerate(steps):  # linear reading needs one pixel more than the taps reach
        extra = step * (margin - reach)
        large = large.narrow(2 + axis, extra, large.shape[2 + axis] - 2 * extra)
    return large


class _ShiftedTaps(torch.autograd.Function):
    """Sum over taps of weight times a shifted view; nothing but the inputs is stored."""

    @staticmethod
    def forward(ctx: Any, large: Tensor, weights: Tensor, steps: list[int]) -> Tensor:
        ctx.save_for_backward(large, weights)
        ctx.steps = steps
        batch, channels = large.shape[:2]
        groups, size = weights.shape[1], weights.shape[3:]
        wide = torch.promote_types(large.dtype, torch.float32)
        out = torch.zeros(batch, groups, channels // groups, *size, dtype=wide, device=large.device)
        grouped = large.unflatten(1, (groups, -1))
        for number, view in _views(size, large.shape[2:], steps):
            out.addcmul_(grouped[view], weights[:, :, number, None])
        return out.flatten(1, 2).to(large.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        large, weights = ctx.saved_tensors
        groups, size = weights.shape[1], weights.shape[3:]
        grad = grad.unflatten(1, (groups, -1))
        grouped = large.unflatten(1, (groups, -1))
        wide = torch.promote_types(large.dtype, torch.float32)
        grad_large = torch.zeros(grouped.shape, dtype=wide, device=large.device)
        grad_weights = torch.empty_like(weights)
        for number, view in _views(size, large.shape[2:], ctx.steps):
            grad_weights[:, :, number] = (grad * grouped[view]).sum(2)
            grad_large[view].addcmul_(grad, weights[:, :, number, None])
        return grad_large.flatten(1, 2).to(large.dtype), grad_weights, None


def _views(size: torch.Size, large: torch.Size, steps: list[int]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield (tap number, the view of the enlarged map [B, G, C/G, *large] that the tap reads)."""
    counts = [(whole - out) // step + 1 for whole, out, step in zip(large, size, steps, strict=True)]
    for number, tap in enumerate(product(*map(range, counts))):
        starts = [position * step for position, step in zip(tap, steps, strict=True)]
        spans = [slice(start, start + out) for start, out in zip(starts, size, strict=True)]
        yield number, (slice(None), slice(None), slice(None), *spans)


def _linear_taps(x: Tensor, weights: Tensor, kernel_size: int) -> tuple[Tensor, list[Tensor]]:
    """Fold the interpolation into the kernel, one axis after another: K taps become K + 1 pixel taps."""
    batch, groups = weights.shape[:2]
    n_in, n_out = x.shape[2:], weights.shape[3:]
    dims = len(n_in)
    weights = weights.reshape(batch, groups, *[kernel_size] * dims, *n_out)
    indices = []
    for axis in range(dims):
        floor, fraction = linear_position(n_in[axis], n_out[axis], x.device, weights.dtype)
        shape = [1] * dims
        shape[axis] = -1
        fraction = fraction.reshape(shape)
        tap_axis = 2 + axis
        edge = torch.zeros_like(weights.narrow(tap_axis, 0, 1))
        below = torch.cat([weights, edge], tap_axis)
        above = torch.cat([edge, weights], tap_axis)
        weights = below + (above - below) * fraction
        first = floor - kernel_size // 2
        steps = torch.arange(kernel_size + 1, device=x.device)
        indices.append((first + steps[:, None]).clamp(0, n_in[axis] - 1))
    return weights.reshape(batch, groups, (kernel_size + 1) ** dims, *n_out), indices


def _nearest_taps(x: Tensor, weights: Tensor, kernel_size: int, border: str) -> tuple[Tensor, list[Tensor]]:
    batch, groups = weights.shape[:2]
    n_in, n_out = x.shape[2:], weights.shape[3:]
    dims = len(n_in)
    steps = torch.arange(kernel_size, device=x.device) - kernel_size // 2
    indices = []
    for axis in range(dims):
        size = n_in[axis]
        centre = torch.arange(n_out[axis], device=x.device) * size // n_out[axis]
        index = centre + steps[:, None]
        if border == "zeros":
            inside = ((index >= 0) & (index < size)).to(weights.dtype)
            shape = [1] * (2 * dims)
            shape[axis], shape[dims + axis] = kernel_size, n_out[axis]
            weights = weights.reshape(batch, groups, *[kernel_size] * dims, *n_out) * inside.reshape(shape)
        elif border == "reflect" and size > 1:
            period = 2 * (size - 1)
            index = (size - 1) - ((index % period) - (size - 1)).abs()
        indices.append(index.clamp(0, size - 1))
    return weights.reshape(batch, groups, kernel_size**dims, *n_out), indices


def _taps_of(x: Tensor, indices: tuple[Tensor, ...]) -> Iterator[tuple[int, Tensor]]:
    """Yield (tap number, x read at that tap); the slow axes are gathered once for all taps of the fast axis."""
    counts = [index.shape[0] for index in indices]
    rows: dict[tuple[int, ...], Tensor] = {(): x}
    for number, tap in enumerate(product(*map(range, counts))):
        for depth in range(1, len(tap)):
            prefix = tap[:depth]
            if prefix not in rows:
                rows = {key: row for key, row in rows.items() if key == prefix[: len(key)]}
                rows[prefix] = rows[prefix[:-1]].index_select(1 + depth, indices[depth - 1][prefix[-1]])
        yield number, rows[tap[:-1]].index_select(1 + len(tap), indices[-1][tap[-1]])


class _GatherTaps(torch.autograd.Function):
    """Sum over taps of weight times gathered pixel; taps are gathered again in backward, never stored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, *indices: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights, *indices)
        batch, channels = x.shape[:2]
        groups, size = weights.shape[1], weights.shape[3:]
        wide = torch.promote_types(x.dtype, torch.float32)
        out = torch.zeros(batch, groups, channels // groups, *size, dtype=wide, device=x.device)
        for number, pixels in _taps_of(x, indices):
            out.addcmul_(pixels.reshape(out.shape), weights[:, :, number, None])
        return out.reshape(batch, channels, *size).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, *indices = ctx.saved_tensors
        batch, channels = x.shape[:2]
        groups, size = weights.shape[1], weights.shape[3:]
        wide = torch.promote_types(x.dtype, torch.float32)
        grouped = grad.reshape(batch, groups, channels // groups, *size)
        grad_weights = torch.empty_like(weights)
        grad_x = torch.zeros(x.shape, dtype=wide, device=x.device)
        counts = [index.shape[0] for index in indices]
        taps = list(product(*map(range, counts)))
        for number, pixels in _taps_of(x, tuple(indices)):
            grad_weights[:, :, number] = (grouped * pixels.reshape(grouped.shape)).sum(2)
            if ctx.needs_input_grad[0]:
                part = (grouped * weights[:, :, number, None]).reshape(batch, channels, *size).to(wide)
                for axis in reversed(range(len(size))):
                    shape = list(part.shape)
                    shape[2 + axis] = x.shape[2 + axis]
                    part = part.new_zeros(shape).index_add_(2 + axis, indices[axis][taps[number][axis]], part)
                grad_x += part
        needs_x = ctx.needs_input_grad[0]
        return (grad_x.to(x.dtype) if needs_x else None, grad_weights, *[None] * len(indices))
