"""Reassembly: every output pixel as a weighted sum of the input pixels around it."""

from medups.ops.reassembly.function import Border, TapMode, reassemble

__all__ = ["Border", "TapMode", "reassemble"]
