"""The definition of box means: neighbors inside the map are added up along each axis and divided by their number."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def box_mean_reference(x: Tensor, radius: int) -> Tensor:
    """See :func:`medups.ops.box_sums.box_mean`."""
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        padding = [radius if a == axis else 0 for a in reversed(range(2, x.ndim)) for _ in range(2)]
        padded = F.pad(x, padding)
        total = padded.narrow(axis, 0, n)
        for shift in range(1, 2 * radius + 1):
            total = total + padded.narrow(axis, shift, n)
        pixel = torch.arange(n, device=x.device)
        count = 1 + pixel.clamp(max=radius) + (n - 1 - pixel).clamp(max=radius)
        x = total / count.to(x.dtype).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return x
