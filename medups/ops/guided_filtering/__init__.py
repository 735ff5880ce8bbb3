"""The guided filter."""

from medups.ops.guided_filtering.function import guided_filter

__all__ = ["guided_filter"]
