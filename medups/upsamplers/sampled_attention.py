"""Attention of every output pixel to a few positions of the deep map, between whose pixels maps are read linearly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medups.ops import sample_offsets
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import linear_position


def sampled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Sequence[Tensor],
    heads: int,
    scale: float = 1,
    bias: Tensor | None = None,
) -> Tensor:
    """Values at each tap, weighted by the softmax of the inner products of the query with the keys there.

    A tap outside the map reads zeros, with a linear transition over one pixel, and keeps its weight.

    Args:
        query: [B, E, *out].
        key: [B, E, *in].
        value: [B, C, *in].
        positions: of each tap [B, G, d, *out], in pixels of the deep map, its first axis first, for G groups of
            channels.
        heads: groups of channels with their own weights.
        scale: factor on the inner products.
        bias: added to the keys [heads, taps, E / heads].

    Returns:
        [B, C, *out].
    """
    reads = [_Reads(at, key.shape[2:]) for at in positions]
    split = query.unflatten(1, (heads, -1))
    logits = []
    for tap, read in enumerate(reads):
        keys = read(key).unflatten(1, (heads, -1))
        if bias is not None:
            keys = keys + bias[:, tap].reshape(heads, -1, *[1] * (key.ndim - 2)).to(keys.dtype)
        logits.append((split * keys).sum(2))
    weights = (scale * torch.stack(logits, 1)).softmax(1)
    total = torch.zeros((), dtype=value.dtype, device=value.device)
    for tap, read in enumerate(reads):
        total = total + read(value).unflatten(1, (heads, -1)) * weights[:, tap, :, None].to(value.dtype)
    return total.flatten(1, 2)


class _Reads:
    """Reads maps of one size at the same positions."""

    def __init__(self, positions: Tensor, size: Sequence[int]) -> None:
        wide = wide_dtype(positions.dtype)
        self.groups = positions.shape[1]
        offsets, shares = [], []
        for axis, n in enumerate(size):
            at = positions[:, :, axis].to(wide)
            floor, fraction = linear_position(n, at.shape[2 + axis], at.device, wide)
            offsets.append(at - along_axis(floor + fraction, axis, len(size)))
            shares.append((1 - torch.relu(-at) - torch.relu(at - (n - 1))).clamp(min=0))
        self.offsets = torch.stack(offsets[::-1], 1).flatten(1, 2)
        inside = shares[0]
        for share in shares[1:]:
            inside = inside * share
        self.inside = inside[:, :, None]

    def __call__(self, x: Tensor) -> Tensor:
        read = sample_offsets(x, self.offsets).unflatten(1, (self.groups, -1))
        return (read * self.inside.to(read.dtype)).flatten(1, 2)


def along_axis(values: Tensor, axis: int, dims: int) -> Tensor:
    """Values [n] of one axis in a shape that broadcasts over all ``dims`` axes."""
    return values.reshape([-1 if a == axis else 1 for a in range(dims)])
