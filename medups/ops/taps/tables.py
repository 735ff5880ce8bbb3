"""Tables per axis: the input pixels that each output pixel's taps read, and the taps that read each input pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from medups.ops.grid import linear_position, nearest_taps


@dataclass(frozen=True)
class Taps:
    """The taps that a kernel reads, as values that an operator accepts.

    Args:
        kernel_size: taps along each axis that have a weight.
        dilation: input pixels between taps, for each axis.
        linear: taps are between pixels, so each axis has one more pixel tap than weights.
        border: the values that ``nearest`` taps read outside the grid.
        margin: pixels at both ends of a linearly interpolated map that are outside it.
        step: only every ``step``-th output pixel is computed.
        grid: the full output size, if ``step`` is not 1 or there is a margin.
    """

    kernel_size: int
    dilation: tuple[int, ...]
    linear: bool
    border: str = "zeros"
    margin: int = 0
    step: int = 1
    grid: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Axis:
    """One axis of a map, read by the taps of the output's pixels.

    Args:
        kernel: taps that have a weight.
        linear: whether tap ``t`` of the weights reads pixel taps ``t`` and ``t + 1``.
        index: int32 [pixel taps, out], the pixel read; -1 for none.
        fraction: [out], interpolation weight of the upper of two pixels.
        start: int32 [in + 1]: entries ``start[i]`` to ``start[i + 1]`` of tap and pixel read pixel ``i``.
        tap, pixel: int32 [entries].
    """

    kernel: int
    linear: bool
    index: Tensor
    fraction: Tensor
    start: Tensor
    tap: Tensor
    pixel: Tensor


KEEPS_TABLES = (torch.Tag.cudagraph_unsafe,)
"""Tags of operators that call :func:`axes_of`: its cached tables must not be in a CUDA graph's memory."""


@lru_cache(maxsize=256)
def axes_of(
    n_in: tuple[int, ...], n_out: tuple[int, ...], taps: Taps, device: torch.device, dtype: torch.dtype
) -> tuple[Axis, Axis, Axis]:
    """Three axes, slowest to fastest; if ``taps`` has only two, the first axis has a single pixel."""
    plane = len(taps.dilation) == 2
    axes = [_axis(1, 1, 1, Taps(1, (1,), linear=False), 1, device, dtype)] if plane else []
    grid = taps.grid or n_out[plane:]
    for size_in, size_out, full_size, dilation in zip(n_in[plane:], n_out[plane:], grid, taps.dilation, strict=True):
        axes.append(_axis(size_in, size_out, full_size, taps, dilation, device, dtype))
    first, second, third = axes
    return first, second, third


def _axis(
    n_in: int, n_out: int, grid: int, taps: Taps, dilation: int, device: torch.device, dtype: torch.dtype
) -> Axis:
    cpu = torch.device("cpu")
    if taps.linear:
        floor, fraction = linear_position(n_in - 2 * taps.margin, grid, cpu, dtype)
        floor, fraction = (value[: n_out * taps.step : taps.step] for value in (floor + taps.margin, fraction))
        steps = torch.arange(taps.kernel_size + 1) - taps.kernel_size // 2
        index = (floor + steps[:, None]).clamp(0, n_in - 1)
    else:
        index = nearest_taps(n_in, n_out, taps.kernel_size, taps.border, cpu, dilation)
        fraction = torch.zeros(n_out, dtype=dtype)
    tap, pixel = (index >= 0).nonzero(as_tuple=True)
    order = torch.argsort(index[tap, pixel], stable=True)
    counts = torch.bincount(index[tap, pixel], minlength=n_in)
    start = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    integers = (value.to(device, torch.int32) for value in (index, start, tap[order], pixel[order]))
    index, start, tap, pixel = (value.contiguous() for value in integers)
    return Axis(taps.kernel_size, taps.linear, index, fraction.contiguous().to(device), start, tap, pixel)
