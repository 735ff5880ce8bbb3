"""The dtypes of intermediate results."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype for sums, statistics and coordinates: float32 or wider."""
    return torch.promote_types(dtype, torch.float32)


def is_autocast(device: torch.device) -> bool:
    """Whether autocast is active on ``device``."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Context in which operators keep the dtypes of their inputs."""
    if is_autocast(device):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
