"""Sampling a map at shifted positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import linear_position


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
        ValueError: shapes that do not fit, a backend that cannot run.
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
    shifts = offsets.to(wide).unflatten(1, (dims, groups)).flip(1)  # slow axis first from here on
    positions = []
    for axis in range(dims):
        floor, fraction = linear_position(n_in[axis], n_out[axis], x.device, wide)
        base = (floor + fraction).reshape([-1 if a == axis else 1 for a in range(dims)])
        positions.append((base + shifts[:, axis]).clamp(0, n_in[axis] - 1))
    grouped = x.reshape(batch * groups, channels // groups, *n_in)
    flat = [position.flatten(0, 1) for position in positions]
    exporting = torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()  # GridSample is unreliable there
    if choose_backend(backend, x, offsets) == "triton":
        sampled = _by_kernel(grouped, flat)
    elif exporting or not x.numel():
        sampled = _by_corners(grouped.to(wide), flat)
    else:
        sampled = _grid_sample(grouped.to(wide), flat)
    return sampled.reshape(batch, channels, *n_out).to(x.dtype)


def _grid_sample(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """torch's own kernel: coordinates from -1 to 1, the fast axis first."""
    scaled = [(2 * p + 1) / n - 1 for p, n in zip(positions, x.shape[2:], strict=True)]
    return F.grid_sample(x, torch.stack(scaled[::-1], -1), mode="bilinear", padding_mode="border", align_corners=False)


def _by_kernel(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    from medups.ops.gpu.sampling import sample  # not before it is needed: it imports Triton

    corners = zip(*_corners(positions, x.shape[2:]), strict=True)
    cells, shares = (torch.stack([part.flatten(1) for part in parts], 1) for parts in corners)
    return sample(x.flatten(2), cells, shares)


def _by_corners(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """The same by gathering the pixels around each position."""
    flat = x.flatten(2)
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for cell, share in _corners(positions, x.shape[2:]):
        read = flat.gather(2, cell.flatten(1)[:, None].expand(-1, x.shape[1], -1))
        total = total + read.unflatten(2, positions[0].shape[1:]) * share[:, None]
    return total


def _corners(positions: Sequence[Tensor], sizes: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """The pixels around each position: number in the flattened map, and share."""
    floors = [position.detach().floor() for position in positions]
    for corner in range(2 ** len(sizes)):
        cell = torch.zeros((), dtype=torch.int64, device=positions[0].device)
        share = torch.ones((), device=positions[0].device)
        for axis, (n, position, floor) in enumerate(zip(sizes, positions, floors, strict=True)):
            upper = corner >> axis & 1
            part = position - floor
            share = share * (part if upper else 1 - part)
            cell = cell * n + (floor.long() + upper).clamp(max=n - 1)
        yield cell, share
