"""Sampling a map at shifted positions."""

from medups.ops.offset_sampling.function import sample_offsets

__all__ = ["sample_offsets"]
