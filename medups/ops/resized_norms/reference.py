"""The definition of the norm: statistics of the enlarged map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medups.ops.reading import linear_reading


def group_norm_reference(
    x: Tensor, size: Sequence[int], groups: int, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """See :func:`medups.ops.resized_norms.group_norm_as_resized`."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    large = wide
    for axis, n_out in enumerate(size):
        large = linear_reading(large, 2 + axis, n_out).along(large, 2 + axis)
    variance, mean = torch.var_mean(large.unflatten(1, (groups, -1)).flatten(2), dim=2, correction=0)
    per_channel = (x.shape[0], groups, *[1] * (x.ndim - 1))
    normalized = wide.unflatten(1, (groups, -1)) - mean.reshape(per_channel)
    normalized = (normalized * torch.rsqrt(variance + eps).reshape(per_channel)).flatten(1, 2)
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (normalized * weight.to(wide.dtype).reshape(shape) + bias.to(wide.dtype).reshape(shape)).to(x.dtype)
