"""The definition of neighbor similarity, neighbor by neighbor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medups.ops.reading import read_nearest_along

Metric = Literal["dot", "cosine"]
COSINE_EPS = 1e-8
"""Smallest norm in a cosine, as in torch.nn.functional.cosine_similarity."""


def similarity_reference(
    query: Tensor, key: Tensor, kernel_size: int, dilation: Sequence[int], metric: Metric
) -> Tensor:
    """See :func:`medups.ops.neighbor_similarity`."""
    reach, scores = kernel_size // 2, []
    queries, keys = (value.to(torch.promote_types(query.dtype, torch.float32)) for value in (query, key))
    if metric == "cosine":
        queries, keys = (F.normalize(value, dim=1, eps=COSINE_EPS) for value in (queries, keys))
    for tap in product(range(-reach, reach + 1), repeat=key.ndim - 2):
        neighbors = keys
        for axis, (offset, step) in enumerate(zip(tap, dilation, strict=True), 2):
            neighbors = read_nearest_along(neighbors, axis, query.shape[axis], step * offset, "zeros")
        scores.append((queries * neighbors).sum(1))
    return torch.stack(scores, 1).to(query.dtype)
