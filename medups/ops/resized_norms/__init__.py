"""Group normalization with the statistics of an enlarged map."""

from medups.ops.resized_norms.function import group_norm_as_resized

__all__ = ["group_norm_as_resized"]
