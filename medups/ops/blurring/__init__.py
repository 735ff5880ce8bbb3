"""A small Gaussian blur."""

from medups.ops.blurring.function import gaussian_blur

__all__ = ["gaussian_blur"]
