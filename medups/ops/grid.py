"""Positions of output pixels on the input grid, in exact integer arithmetic.

Output pixel ``p`` of an axis of ``n_out`` pixels has its center at ``(p + 1/2) * n_in / n_out - 1/2``
on an axis of ``n_in`` pixels. Doubling numerator and denominator keeps it a ratio of integers, so
floors and comparisons never depend on the floating-point dtype.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""torch's name for linear interpolation, by number of spatial axes."""


def linear_position(n_in: int, n_out: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Floor (int64, from -1 to n_in - 1) and fraction (in [0, 1), ``dtype``) of every output pixel's position."""
    doubled = (2 * torch.arange(n_out, device=device) + 1) * n_in - n_out
    floor = torch.div(doubled, 2 * n_out, rounding_mode="floor")
    return floor, (doubled - floor * 2 * n_out).to(dtype) / (2 * n_out)


def tap_inside(n_in: int, n_out: int, kernel_size: int, device: torch.device) -> Tensor:
    """[kernel_size, n_out] bool: whether tap ``t`` of pixel ``p``, at ``(p+1/2)*n_in/n_out + t``, is in [0, n_in)."""
    center = (2 * torch.arange(n_out, device=device) + 1) * n_in
    taps = torch.arange(kernel_size, device=device) - kernel_size // 2
    position = center + 2 * n_out * taps[:, None]
    return (position >= 0) & (position < 2 * n_out * n_in)


def nearest_taps(
    n_in: int, n_out: int, kernel_size: int, border: str, device: torch.device, dilation: int = 1
) -> Tensor:
    """[kernel_size, n_out] int64: the pixel that tap ``t`` of pixel ``p`` reads, -1 if it reads none.

    Taps are ``dilation`` pixels apart around ``floor(p * n_in / n_out)``; beyond the map they follow ``border``,
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


def nearest_indices(
    n_in: Sequence[int],
    n_out: Sequence[int],
    kernel_size: int,
    border: str,
    device: torch.device,
    dilation: Sequence[int] | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """Pixel of each tap per axis [kernel_size, out]; for ``zeros`` also whether it is inside [kernel_size**d, *out]."""
    dims = len(n_in)
    indices, inside = [], None
    for axis, (size, out) in enumerate(zip(n_in, n_out, strict=True)):
        index = nearest_taps(size, out, kernel_size, border, device, 1 if dilation is None else dilation[axis])
        if border == "zeros":
            shape = [1] * (2 * dims)
            shape[axis], shape[dims + axis] = kernel_size, out
            along = (index >= 0).reshape(shape)
            inside = along if inside is None else inside & along
        indices.append(index.clamp(min=0))
    return indices, None if inside is None else inside.reshape(kernel_size**dims, *n_out)


def taps_inside(
    n_in: Sequence[int], n_out: Sequence[int], kernel_size: int, linear: bool, device: torch.device
) -> Tensor:
    """[kernel_size**d, *out] bool: whether each tap, linear or nearest, is inside the map."""
    if not linear:
        _, inside = nearest_indices(n_in, n_out, kernel_size, "zeros", device)
        assert inside is not None
        return inside
    dims = len(n_in)
    inside = torch.ones((), dtype=torch.bool, device=device)
    for axis, (size, out) in enumerate(zip(n_in, n_out, strict=True)):
        shape = [1] * (2 * dims)
        shape[axis], shape[dims + axis] = kernel_size, out
        inside = inside & tap_inside(size, out, kernel_size, device).reshape(shape)
    return inside.reshape(kernel_size**dims, *n_out)


def whole_ratios(n_in: Sequence[int], n_out: Sequence[int]) -> tuple[int, ...] | None:
    """The ratio of each axis if all ratios are whole numbers, else None."""
    if min(n_in) == 0:
        return None
    ratios = tuple(out // small for small, out in zip(n_in, n_out, strict=True))
    exact = all(ratio >= 1 and ratio * n == out for ratio, n, out in zip(ratios, n_in, n_out, strict=True))
    return ratios if exact else None


def kept_pixels(n: int, step: int) -> int:
    """The number of pixels kept of ``n`` if every ``step``-th is kept, starting with the first."""
    return max(1, n // step)
