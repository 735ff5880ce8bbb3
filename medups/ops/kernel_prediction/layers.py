"""The layers' weights as one structure."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LogitLayers(NamedTuple):
    """Weights of the layers from a paired difference to kernel logits; M hidden channels, K taps.

    Args:
        center: [M, E], applied to the query.
        mix: [M, M // groups], of a grouped 1x1 convolution.
        mix_bias, norm_weight, norm_bias: [M].
        weight: [K, M].
        bias: [K].
    """

    center: Tensor
    mix: Tensor
    mix_bias: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    weight: Tensor
    bias: Tensor

    def to(self, dtype: torch.dtype) -> LogitLayers:
        """All weights in ``dtype``."""
        return LogitLayers(*(value.to(dtype) for value in self))
