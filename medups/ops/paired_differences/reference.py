"""The definition of the paired central difference convolution, tap by tap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.reading import read_linear_along, read_nearest_along


def paired_difference_reference(
    key: Tensor, query: Tensor, weight: Tensor, bias: Tensor | None, dilation: Sequence[int], groups: int
) -> Tensor:
    """See :func:`medups.ops.paired_differences.paired_difference_conv`."""
    conv = F.conv2d if key.ndim == 4 else F.conv3d
    same_size = key.shape == query.shape
    total = torch.zeros((), dtype=key.dtype, device=key.device)
    for tap in product(*(range(n) for n in weight.shape[2:])):
        value = key
        for axis, (at, n, step) in enumerate(zip(tap, weight.shape[2:], dilation, strict=True), 2):
            offset = at - n // 2
            if same_size:
                value = read_nearest_along(value, axis, query.shape[axis], step * offset, "replicate")
            else:
                value = read_linear_along(value, axis, query.shape[axis], offset)
        tap_weight = weight[(slice(None), slice(None), *(slice(at, at + 1) for at in tap))]
        total = total + conv(value - query, tap_weight, groups=groups)
    return total if bias is None else total + bias.reshape(1, -1, *[1] * (key.ndim - 2))
