"""The definition of neighbor similarity, neighbor by neighbor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.reading import every_tap, nearest_reading

Metric = Literal["dot", "cosine"]
COSINE_EPS = 1e-8
"""Smallest norm in a cosine, as in torch.nn.functional.cosine_similarity."""


def similarity_reference(
    query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int], metric: Metric
) -> Tensor:
    """See :func:`medups.ops.neighbor_similarity`."""
    reach = kernel_size // 2
    queries, keys = (value.to(torch.promote_types(query.dtype, torch.float32)) for value in (query, key))
    if metric == "cosine":
        queries, keys = (F.normalize(value, dim=1, eps=COSINE_EPS) for value in (queries, keys))
    readings = [
        [nearest_reading(keys, axis, n, step * offset, "zeros") for offset in range(-reach, reach + 1)]
        for axis, (n, step) in enumerate(zip(query.shape[2:], dilation, strict=True), 2)
    ]
    scores = [(queries * neighbors).sum(1) for neighbors in every_tap(keys, readings)]
    return torch.stack(scores, 1).to(query.dtype)
