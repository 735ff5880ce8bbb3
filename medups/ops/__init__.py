"""Tensor functions for feature upsampling in 2-D and 3-D, for any size and dtype; torch is the only dependency.

Each operator is a package of these files, some of them optional: ``function`` (checks, choice of backend),
``reference`` (the formula in built-in torch operators), ``torch_path`` or ``fused`` (the fast torch path), ``triton``
and ``kernels`` (the GPU path). Several share ``taps``.
"""

from medups.ops.guided_filtering import guided_filter
from medups.ops.offset_sampling import sample_offsets
from medups.ops.paired_differences import paired_difference_conv
from medups.ops.reassembly import reassemble
from medups.ops.similarity import neighbor_similarity

__all__ = ["guided_filter", "neighbor_similarity", "paired_difference_conv", "reassemble", "sample_offsets"]
