"""Tensor functions of feature upsampling: torch only, 2-D and 3-D, any size and dtype.

Each operator is a package with the same files, where it has them: ``function`` (checks, choice of backend),
``reference`` (the formula in torch's own operators), ``cpu`` or ``fused`` (the fast torch path), ``triton`` and
``kernels`` (the GPU path).
"""

from medups.ops.guided_filtering import guided_filter
from medups.ops.offset_sampling import sample_offsets
from medups.ops.paired_differences import paired_difference_conv
from medups.ops.reassembly import reassemble
from medups.ops.similarity import neighbor_similarity

__all__ = ["guided_filter", "neighbor_similarity", "paired_difference_conv", "reassemble", "sample_offsets"]
