"""The definition of linear sampling: the pixels around each position, weighted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor


def sample_reference(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """``x`` [N, C, *in] at ``positions`` [N, *out] for each axis, slowest to fastest, clamped to the map."""
    sizes, flat = x.shape[2:], x.flatten(2)
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    floors = [position.detach().floor() for position in positions]
    for upper in product((0, 1), repeat=len(sizes)):
        index, share = torch.zeros_like(floors[0], dtype=torch.int64), torch.ones_like(floors[0])
        for n, position, floor, step in zip(sizes, positions, floors, upper, strict=True):
            index = index * n + (floor.long() + step).clamp(max=n - 1)
            share = share * ((position - floor) if step else (1 - position + floor))
        values = flat.gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1))
        total = total + values.unflatten(2, positions[0].shape[1:]) * share[:, None]
    return total
