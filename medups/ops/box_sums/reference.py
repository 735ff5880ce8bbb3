"""The definition of box means, by torch's average pooling."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def box_mean_reference(x: Tensor, radius: int) -> Tensor:
    """See :func:`medups.ops.box_sums.box_mean`."""
    for axis in range(2, x.ndim):  # one axis at a time: 3-D pooling rejects windows larger than the map
        rows = x.movedim(axis, -1)
        means = F.avg_pool1d(
            rows.reshape(-1, 1, rows.shape[-1]), 2 * radius + 1, stride=1, padding=radius, count_include_pad=False
        )
        x = means.reshape(rows.shape).movedim(-1, axis)
    return x
