"""The definition of reassembly, tap by tap."""

from __future__ import annotations

import torch
from torch import Tensor

from medups.ops.reading import Reading, every_tap, linear_reading, nearest_reading


def reassemble_reference(x: Tensor, weights: Tensor, kernel_size: int, taps: str, border: str, softmax: bool) -> Tensor:
    """See :func:`medups.ops.reassemble`."""
    wide = torch.promote_types(x.dtype, torch.float32)
    groups, n_out, reach = weights.shape[1], weights.shape[3:], kernel_size // 2
    weights = torch.softmax(weights, 2) if softmax else weights
    source = x.to(wide)

    def reading(axis: int, offset: int) -> Reading:
        if taps == "linear":
            return linear_reading(source, axis, n_out[axis - 2], offset)
        return nearest_reading(source, axis, n_out[axis - 2], offset, border)

    readings = [[reading(axis, offset) for offset in range(-reach, reach + 1)] for axis in range(2, x.ndim)]
    grouped = source.unflatten(1, (groups, x.shape[1] // groups))
    total = torch.zeros((), dtype=wide, device=x.device)
    for values, kernel in zip(every_tap(grouped, readings), weights.to(wide)[:, :, None].unbind(3), strict=True):
        total = total + values * kernel
    return total.flatten(1, 2).to(x.dtype)
