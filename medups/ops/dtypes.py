"""Which type numbers are taken in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """What sums, statistics and coordinates are taken in: float32 or wider."""
    return torch.promote_types(dtype, torch.float32)


def is_autocast(device: torch.device) -> bool:
    """Do operators on ``device`` choose their types themselves now?"""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Inside, operators keep the types they are given."""
    if is_autocast(device):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
