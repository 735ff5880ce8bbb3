"""Taps at whole ratios: the map is enlarged once, and each tap is a shifted view of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from medups.ops.grid import LINEAR_MODES


def magnified(x: Tensor, steps: Sequence[int], linear: bool) -> Tensor:
    """``x`` enlarged by whole ``steps``, which are then the distance between taps."""
    if all(step == 1 for step in steps):
        return x
    mode = LINEAR_MODES[len(steps)] if linear else "nearest"
    return F.interpolate(x, scale_factor=[float(step) for step in steps], mode=mode)


def reflection_fits(n_in: Sequence[int], reach: int, border: str) -> bool:
    """Whether torch can pad by ``reach``; it reflects fewer pixels than the size of the map."""
    return border != "reflect" or min(n_in) > reach
