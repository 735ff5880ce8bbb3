"""The most memory that a piece of work holds beyond what was there before."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(work: Callable[[], object], device: str) -> int | None:
    """On a GPU torch's own count; on Linux the process's high-water mark; None where neither can be had."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # gives back what earlier work freed, which would hide the growth
        _CLEAR.write_text("5", encoding="ascii")  # resets the high-water mark
        before = _kilobytes("VmRSS")
        work()
        return 1024 * (_kilobytes("VmHWM") - before)
    except (OSError, AttributeError):
        return None


def _kilobytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])
