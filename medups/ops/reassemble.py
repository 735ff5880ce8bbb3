"""Reassembly: every output pixel is a weighted sum of input pixels around it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend, inference_on_cpu
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import LINEAR_MODES, linear_position, nearest_taps
from medups.ops.layout import Layout
from medups.ops.taps import weighted_sum

TapMode = Literal["nearest", "linear"]
Border = Literal["zeros", "reflect", "replicate"]
_SLAB_BYTES = 2**24  # of what is held beside inputs and output, at inference


def reassemble(
    x: Tensor,
    weights: Tensor,
    *,
    kernel_size: int,
    taps: TapMode = "nearest",
    border: Border = "zeros",
    softmax: bool = False,
    backend: Backend | None = None,
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
        softmax: ``weights`` are logits, of which the softmax over the taps is used.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, C, *out] in the dtype of ``x``; sums are taken in float32 or wider.

    Raises:
        ValueError: shapes that do not fit, an even kernel, unknown ``taps`` or ``border``, a backend that cannot run.

    At whole ratios ``x`` is enlarged once and each tap is a shifted view of it. At other ratios taps are
    gathered; the linear form then uses an exact identity: ``K**d`` interpolated taps equal ``(K+1)**d`` pixel
    taps whose weights are the kernel convolved with the interpolation weights.
    """
    _check(x, weights, kernel_size, taps, border)
    batch, channels, *n_in = x.shape
    n_out = tuple(weights.shape[3:])
    groups = weights.shape[1]
    chosen = choose_backend(backend, x, weights)
    if chosen == "triton":
        from medups.ops.gpu import taps as gpu  # not before it is needed: it imports Triton

        grouped = x.reshape(batch, groups, channels // groups, *n_in)
        return gpu.reassemble(grouped, weights, kernel_size, taps == "linear", border, softmax).flatten(1, 2)
    plain = chosen == "reference"
    steps = whole_steps(x, n_out)
    if steps is not None and (taps == "linear" or border_fits(n_in, kernel_size // 2, border)):
        return _by_shifts(
            x,
            weights,
            kernel_size,
            steps,
            "replicate" if taps == "linear" else border,
            taps == "linear",
            softmax,
            plain,
        )
    if softmax:
        weights = torch.softmax(weights, 2)
    if taps == "linear":
        weights, indices = _linear_taps(n_in, weights, kernel_size)
        layout = Layout((kernel_size + 1,) * len(n_in), n_out, None)
    else:
        indices, inside = nearest_indices(n_in, n_out, kernel_size, border, x.device)
        weights = weights if inside is None else weights * inside
        layout = Layout((kernel_size,) * len(n_in), n_out, None)
    source = x.reshape(batch, groups, channels // groups, *n_in)
    return weighted_sum(source, weights, layout, indices, plain=plain).reshape(batch, channels, *n_out).to(x.dtype)


def _by_shifts(
    x: Tensor,
    weights: Tensor,
    kernel_size: int,
    steps: tuple[int, ...],
    border: str,
    linear: bool,
    softmax: bool,
    plain: bool,
) -> Tensor:
    """Taps as shifted views of the enlarged ``x``, a slab of rows after another where that saves memory."""
    batch, channels, rows, *_ = x.shape
    groups, n_out = weights.shape[1], tuple(weights.shape[3:])
    margin = kernel_size // 2 + (1 if linear else 0)  # linear reading needs one pixel more than the taps reach
    padded = with_margins(x, [margin] * len(steps), border)

    def slab(first: int, count: int) -> Tensor:
        source = magnified(padded.narrow(2, first, count + 2 * margin), steps, linear)
        part = weights.narrow(3, first * steps[0], count * steps[0])
        part = torch.softmax(part, 2) if softmax else part
        layout = Layout((kernel_size,) * len(steps), (part.shape[3], *n_out[1:]), steps)
        grouped = source.reshape(batch, groups, channels // groups, *source.shape[2:])
        return weighted_sum(grouped, part, layout, plain=plain).flatten(1, 2).to(x.dtype)

    if plain or not inference_on_cpu(x, weights):
        return slab(0, rows)
    temporaries = (x.numel() * prod(steps) + weights.numel()) * wide_dtype(x.dtype).itemsize
    count = max(1, 2 * margin, rows * _SLAB_BYTES // temporaries)
    if count >= rows:
        return slab(0, rows)
    out = x.new_empty(batch, channels, *n_out)
    for first in range(0, rows, count):
        here = min(count, rows - first)
        out.narrow(2, first * steps[0], here * steps[0]).copy_(slab(first, here))
    return out


def whole_steps(x: Tensor, n_out: Sequence[int]) -> tuple[int, ...] | None:
    """The ratio of each axis where all of them are whole numbers."""
    n_in = x.shape[2:]
    if x.shape[0] == 0 or min(n_in) == 0:
        return None
    steps = tuple(out // small for small, out in zip(n_in, n_out, strict=True))
    whole = all(step >= 1 and step * small == out for step, small, out in zip(steps, n_in, n_out, strict=True))
    return steps if whole else None


def border_fits(n_in: Sequence[int], reach: int, border: str) -> bool:
    """torch pads by reflection only up to the size of the map."""
    return border != "reflect" or min(n_in) > reach


def with_margins(x: Tensor, margins: Sequence[int], border: str) -> Tensor:
    """``x`` with so many pixels more at both ends of each axis."""
    if not max(margins):
        return x
    both_ends = [margin for one in reversed(margins) for margin in (one, one)]
    return F.pad(x, both_ends, mode="constant" if border == "zeros" else border)


def magnified(x: Tensor, steps: Sequence[int], linear: bool) -> Tensor:
    """``x`` enlarged by whole ``steps``, by which taps are shifted then."""
    if all(step == 1 for step in steps):
        return x
    mode = LINEAR_MODES[len(steps)] if linear else "nearest"
    return F.interpolate(x, scale_factor=[float(step) for step in steps], mode=mode)


def nearest_indices(
    n_in: Sequence[int],
    n_out: Sequence[int],
    kernel_size: int,
    border: str,
    device: torch.device,
    dilation: Sequence[int] | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """[kernel_size, out] pixel of each tap along each axis, and for zeros [kernel_size**d, *out]: is it inside?"""
    dims = len(n_in)
    indices, inside = [], None
    for axis, (size, out) in enumerate(zip(n_in, n_out, strict=True)):
        index = nearest_taps(size, out, kernel_size, border, device, 1 if dilation is None else dilation[axis])
        if border == "zeros":
            shape = [1] * (2 * dims)
            shape[axis], shape[dims + axis] = kernel_size, out
            here = (index >= 0).reshape(shape)
            inside = here if inside is None else inside & here
        indices.append(index.clamp(min=0))
    return indices, None if inside is None else inside.reshape(kernel_size**dims, *n_out)


def _linear_taps(n_in: Sequence[int], weights: Tensor, kernel_size: int) -> tuple[Tensor, list[Tensor]]:
    """Fold the interpolation into the kernel, one axis after another: K taps become K + 1 pixel taps."""
    batch, groups = weights.shape[:2]
    n_out = weights.shape[3:]
    dims = len(n_in)
    weights = weights.to(wide_dtype(weights.dtype)).reshape(batch, groups, *[kernel_size] * dims, *n_out)
    indices = []
    for axis in range(dims):
        floor, fraction = linear_position(n_in[axis], n_out[axis], weights.device, weights.dtype)
        shape = [1] * dims
        shape[axis] = -1
        edge = torch.zeros_like(weights.narrow(2 + axis, 0, 1))
        below = torch.cat([weights, edge], 2 + axis)
        above = torch.cat([edge, weights], 2 + axis)
        weights = below + (above - below) * fraction.reshape(shape)
        steps = torch.arange(kernel_size + 1, device=weights.device)
        indices.append((floor - kernel_size // 2 + steps[:, None]).clamp(0, n_in[axis] - 1))
    return weights.reshape(batch, groups, (kernel_size + 1) ** dims, *n_out), indices


def _check(x: Tensor, weights: Tensor, kernel_size: int, taps: str, border: str) -> None:
    dims = x.ndim - 2
    if dims not in (2, 3) or weights.ndim != x.ndim + 1:
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
