"""Reassembly in torch: shifted views at whole ratios, gathers at other ratios; slabs of rows without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from medups.ops.backend import inference_on_cpu
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import linear_position, nearest_indices, whole_ratios
from medups.ops.padding import pad_border
from medups.ops.taps.geometry import TapGeometry
from medups.ops.taps.operators import weighted_sum
from medups.ops.taps.shifts import magnified, reflection_fits

SLAB_BYTES = 2**24
"""Memory for intermediate results at inference, in addition to inputs and output."""


def reassemble_torch(x: Tensor, weights: Tensor, kernel_size: int, linear: bool, border: str, softmax: bool) -> Tensor:
    """See :func:`medups.ops.reassemble`.

    At whole ratios ``x`` is enlarged once and each tap is a shifted view of it. At other ratios taps are gathered; the
    linear form then uses an exact identity: ``K**d`` interpolated taps equal ``(K+1)**d`` pixel taps whose weights are
    the kernel convolved with the interpolation weights.
    """
    batch, channels, *n_in = x.shape
    groups, n_out = weights.shape[1], tuple(weights.shape[3:])
    steps = whole_ratios(n_in, n_out) if batch else None
    if steps is not None and (linear or reflection_fits(n_in, kernel_size // 2, border)):
        return _by_shifts(x, weights, kernel_size, steps, "replicate" if linear else border, linear, softmax)
    if softmax:
        weights = torch.softmax(weights, 2)
    if linear:
        weights, indices = _linear_taps(n_in, weights, kernel_size)
        geometry = TapGeometry((kernel_size + 1,) * len(n_in), n_out, None)
    else:
        indices, inside = nearest_indices(n_in, n_out, kernel_size, border, x.device)
        weights = weights if inside is None else weights * inside
        geometry = TapGeometry((kernel_size,) * len(n_in), n_out, None)
    source = x.reshape(batch, groups, channels // groups, *n_in)
    return weighted_sum(source, weights, geometry, indices).reshape(batch, channels, *n_out).to(x.dtype)


def _by_shifts(
    x: Tensor, weights: Tensor, kernel_size: int, steps: tuple[int, ...], border: str, linear: bool, softmax: bool
) -> Tensor:
    """Taps as shifted views of the enlarged ``x``, slab by slab of rows if that saves memory."""
    batch, channels, rows, *_ = x.shape
    groups, n_out = weights.shape[1], tuple(weights.shape[3:])
    margin = kernel_size // 2 + (1 if linear else 0)  # interpolation needs one pixel beyond the taps
    padded = pad_border(x, [margin] * len(steps), border)

    def slab(first: int, count: int) -> Tensor:
        source = magnified(padded.narrow(2, first, count + 2 * margin), steps, linear)
        kernels = weights.narrow(3, first * steps[0], count * steps[0])
        kernels = torch.softmax(kernels, 2) if softmax else kernels
        geometry = TapGeometry((kernel_size,) * len(steps), (kernels.shape[3], *n_out[1:]), steps)
        grouped = source.reshape(batch, groups, channels // groups, *source.shape[2:])
        return weighted_sum(grouped, kernels, geometry).flatten(1, 2).to(x.dtype)

    if not inference_on_cpu(x, weights):
        return slab(0, rows)
    temporaries = (x.numel() * prod(steps) + weights.numel()) * wide_dtype(x.dtype).itemsize
    per_slab = max(1, 2 * margin, rows * SLAB_BYTES // temporaries)
    if per_slab >= rows:
        return slab(0, rows)
    out = x.new_empty(batch, channels, *n_out)
    for first in range(0, rows, per_slab):
        count = min(per_slab, rows - first)
        out.narrow(2, first * steps[0], count * steps[0]).copy_(slab(first, count))
    return out


def _linear_taps(n_in: Sequence[int], weights: Tensor, kernel_size: int) -> tuple[Tensor, list[Tensor]]:
    """Fold the interpolation into the kernel, axis by axis: K taps become K + 1 pixel taps."""
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
