"""The definition of reassembly, tap by tap."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from medups.ops.reading import read_linear_along, read_nearest_along


def reassemble_reference(x: Tensor, weights: Tensor, kernel_size: int, taps: str, border: str, softmax: bool) -> Tensor:
    """See :func:`medups.ops.reassemble`."""
    wide = torch.promote_types(x.dtype, torch.float32)
    groups, n_out, reach = weights.shape[1], weights.shape[3:], kernel_size // 2
    weights = torch.softmax(weights, 2) if softmax else weights
    total = torch.zeros((), dtype=wide, device=x.device)
    for number, tap in enumerate(product(range(-reach, reach + 1), repeat=len(n_out))):
        values = x.to(wide)
        for axis, (offset, n) in enumerate(zip(tap, n_out, strict=True), 2):
            if taps == "linear":
                values = read_linear_along(values, axis, n, offset)
            else:
                values = read_nearest_along(values, axis, n, offset, border)
        kernels = weights[:, :, number].to(wide)
        total = total + (values.unflatten(1, (groups, x.shape[1] // groups)) * kernels[:, :, None]).flatten(1, 2)
    return total.to(x.dtype)
