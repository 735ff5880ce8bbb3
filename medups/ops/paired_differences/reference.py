"""The definition of the paired central difference convolution, tap by tap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.reading import Reading, every_tap, linear_reading, nearest_reading


def paired_difference_reference(
    key: Tensor, query: Tensor, weight: Tensor, bias: Tensor | None, dilation: Sequence[int], groups: int
) -> Tensor:
    """See :func:`medups.ops.paired_differences.paired_difference_conv`."""
    conv = F.conv2d if key.ndim == 4 else F.conv3d
    same_size = key.shape == query.shape

    def reading(axis: int, offset: int) -> Reading:
        if same_size:
            return nearest_reading(key, axis, query.shape[axis], dilation[axis - 2] * offset, "replicate")
        return linear_reading(key, axis, query.shape[axis], offset)

    kernel = weight.shape[2:]
    readings = [[reading(axis, at - n // 2) for at in range(n)] for axis, n in enumerate(kernel, 2)]
    total = torch.zeros((), dtype=key.dtype, device=key.device)
    for tap, value in zip(product(*map(range, kernel)), every_tap(key, readings), strict=True):
        tap_weight = weight[(slice(None), slice(None), *(slice(at, at + 1) for at in tap))]
        total = total + conv(value - query, tap_weight, groups=groups)
    return total if bias is None else total + bias.reshape(1, -1, *[1] * (key.ndim - 2))
