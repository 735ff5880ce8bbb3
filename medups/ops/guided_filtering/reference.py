"""The definition of the guided filter: local linear regression, averaged."""

from __future__ import annotations

import torch
from torch import Tensor

from medups.ops.box_sums.reference import box_mean_reference
from medups.ops.reading import linear_reading


def guided_filter_reference(guide: Tensor, small_guide: Tensor, small_x: Tensor, radius: int, eps: float) -> Tensor:
    """See :func:`medups.ops.guided_filtering.guided_filter`; ``radius`` is in pixels of the small maps."""
    wide = torch.promote_types(guide.dtype, torch.float32)

    def mean(values: Tensor) -> Tensor:
        return box_mean_reference(values, radius)

    g, x = small_guide.to(wide), small_x.to(wide)
    slope = (mean(g * x) - mean(g) * mean(x)) / (mean(g * g) - mean(g) ** 2 + eps)
    offset = mean(x) - slope * mean(g)
    slope, offset = mean(slope), mean(offset)
    for axis, n in enumerate(guide.shape[2:], 2):
        reading = linear_reading(slope, axis, n)
        slope, offset = reading.along(slope, axis), reading.along(offset, axis)
    return (slope * guide.to(wide) + offset).to(guide.dtype)
