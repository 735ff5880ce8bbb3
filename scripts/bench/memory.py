"""The most memory that a piece of work holds beyond what was there before."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

_MMAP_THRESHOLD = -3  # of mallopt
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
        _CLEAR.write_text("5", encoding="ascii")  # resets the high-water mark
        before = _kilobytes("VmRSS")
        work()
        return 1024 * (_kilobytes("VmHWM") - before)
    except (OSError, AttributeError):
        return None


def give_back_freed_memory() -> None:
    """Have the C library hand back what is freed at once, so that growth shows; before anything is allocated."""
    _set_mmap_threshold(2**16)


def keep_freed_memory() -> None:
    """Let it keep freed blocks again, as it does by itself in any long run: for timing."""
    _set_mmap_threshold(2**25)


def _set_mmap_threshold(size: int) -> None:
    with suppress(OSError, AttributeError):  # no such library: peak_bytes knows of no other measure either
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, size)


def _kilobytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])
