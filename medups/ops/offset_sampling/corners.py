"""The pixels around each sampling position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def corners(positions: Sequence[Tensor], sizes: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each of the 2**d corners: its index in the flattened map and its interpolation weight.

    Args:
        positions: [N, *out] for each axis, slowest to fastest, inside the map.
    """
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
