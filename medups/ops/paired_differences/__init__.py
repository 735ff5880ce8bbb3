"""The paired central difference convolution of ReSFU."""

from medups.ops.paired_differences.function import key_neighborhood, paired_difference_conv

__all__ = ["key_neighborhood", "paired_difference_conv"]
