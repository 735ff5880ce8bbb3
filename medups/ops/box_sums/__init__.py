"""Means over boxes around each pixel."""

from medups.ops.box_sums.function import box_mean

__all__ = ["box_mean"]
