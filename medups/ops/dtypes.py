"""Which type numbers are taken in."""

from __future__ import annotations

import torch


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """What sums, statistics and coordinates are taken in: float32 or wider."""
    return torch.promote_types(dtype, torch.float32)
