"""The definition of linear resizing: one axis after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medups.ops.reading import linear_reading


def resize_reference(x: Tensor, size: Sequence[int], margin: int, step: int) -> Tensor:
    """See :func:`medups.ops.resizing.resize_linear`."""
    resized = x.to(torch.promote_types(x.dtype, torch.float32))
    for axis, n_out in enumerate(size):
        resized = linear_reading(resized, 2 + axis, n_out, margin=margin, step=step).along(resized, 2 + axis)
    return resized.to(x.dtype)
