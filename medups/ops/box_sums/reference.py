"""The definition of box means: torch's average pooling, axis by axis."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def box_mean_reference(x: Tensor, radius: int) -> Tensor:
    """See :func:`medups.ops.box_sums.box_mean`."""
    for axis in range(2, x.ndim):
        moved = x.movedim(axis, 2)
        # in 2-D for volumes too: 3-D pooling rejects windows larger than the map
        means = F.avg_pool2d(
            moved.flatten(3), (2 * radius + 1, 1), stride=1, padding=(radius, 0), count_include_pad=False
        )
        x = means.unflatten(3, moved.shape[3:]).movedim(2, axis)
    return x
