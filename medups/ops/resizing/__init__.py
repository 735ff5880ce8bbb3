"""Linear resizing with aligned pixel centers."""

from medups.ops.resizing.function import resize_linear

__all__ = ["resize_linear"]
