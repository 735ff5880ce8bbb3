"""Tensor functions of feature upsampling: torch only, 2-D and 3-D, any size and dtype."""

from medups.ops.guided_filter import guided_filter
from medups.ops.offsets import sample_offsets
from medups.ops.paired_difference import paired_difference_conv
from medups.ops.reassemble import reassemble
from medups.ops.similarity import neighbor_similarity

__all__ = ["guided_filter", "neighbor_similarity", "paired_difference_conv", "reassemble", "sample_offsets"]
