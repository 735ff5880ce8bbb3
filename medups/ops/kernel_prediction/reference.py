"""The definition of the layers, one after another."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.kernel_prediction.layers import LogitLayers


def kernel_logits_reference(around: Tensor, query: Tensor, layers: LogitLayers, norm_groups: int, eps: float) -> Tensor:
    """See :func:`medups.ops.kernel_prediction.kernel_logits`."""
    conv = F.conv2d if around.ndim == 4 else F.conv3d

    def kernel(matrix: Tensor) -> Tensor:
        return matrix.reshape(*matrix.shape, *[1] * (around.ndim - 2))

    groups = layers.mix.shape[0] // layers.mix.shape[1]
    difference = F.relu(around - conv(query.to(around.dtype), kernel(layers.center)))
    hidden = F.relu(conv(difference, kernel(layers.mix), layers.mix_bias, groups=groups))
    normalized = torch.group_norm(hidden, norm_groups, layers.norm_weight, layers.norm_bias, eps)
    return conv(normalized, kernel(layers.weight), layers.bias)
