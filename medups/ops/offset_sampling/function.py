"""Sampling at shifted positions: public function and choice of backend."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import linear_position
from medups.ops.offset_sampling.corners import corners
from medups.ops.offset_sampling.reference import sample_reference


def sample_offsets(x: Tensor, offsets: Tensor, *, backend: Backend | None = None) -> Tensor:
    """Read ``x`` linearly at ``(p + 1/2) * in / out - 1/2 + offset``; positions are clamped to the map.

    Args:
        x: [B, C, *in].
        offsets: [B, d * G, *out] in pixels of ``x``, coordinate by coordinate (the last axis of the map first),
            each for G groups of channels; G divides C.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, C, *out] in the dtype of ``x``. Coordinates and sums are float32 or wider.

    Raises:
        ValueError: mismatched shapes, or a backend that cannot run.
    """
    dims = x.ndim - 2
    batch, channels = x.shape[:2]
    n_in, n_out = x.shape[2:], offsets.shape[2:]
    groups = offsets.shape[1] // dims
    if offsets.ndim != x.ndim or offsets.shape[0] != batch or groups * dims != offsets.shape[1] or channels % groups:
        raise ValueError(
            f"sample_offsets: offsets of {tuple(offsets.shape)} do not fit x of {tuple(x.shape)}: expected the same "
            f"batch and {dims} coordinates for groups that divide {channels} channels"
        )
    wide = wide_dtype(x.dtype)
    shifts = offsets.to(wide).unflatten(1, (dims, groups)).flip(1)  # slowest axis first from here on
    positions = []
    for axis in range(dims):
        floor, fraction = linear_position(n_in[axis], n_out[axis], x.device, wide)
        base = (floor + fraction).reshape([-1 if a == axis else 1 for a in range(dims)])
        positions.append((base + shifts[:, axis]).clamp(0, n_in[axis] - 1).flatten(0, 1))
    grouped = x.reshape(batch * groups, channels // groups, *n_in)
    chosen = choose_backend(backend, x, offsets)
    if chosen == "triton":
        sampled = _by_kernel(grouped, positions)
    elif chosen == "reference" or not x.numel():
        sampled = sample_reference(grouped.to(wide), positions)
    else:
        sampled = _grid_sample(grouped.to(wide), positions)
    return sampled.reshape(batch, channels, *n_out).to(x.dtype)


def _grid_sample(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """Sample with torch's kernel, whose coordinates are from -1 to 1, fastest axis first."""
    scaled = [(2 * p + 1) / n - 1 for p, n in zip(positions, x.shape[2:], strict=True)]
    return F.grid_sample(x, torch.stack(scaled[::-1], -1), mode="bilinear", padding_mode="border", align_corners=False)


def _by_kernel(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    from medups.ops.offset_sampling.triton import sample  # imports Triton, so only when needed

    pairs = zip(*corners(positions, x.shape[2:]), strict=True)
    cells, shares = (torch.stack([value.flatten(1) for value in values], 1) for values in pairs)
    return sample(x.flatten(2), cells, shares)
