"""Peak memory of a piece of work, beyond the memory in use before it."""

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
    """Peak reported by torch on a GPU, else the process's high-water mark on Linux; None if neither is available."""
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
    """Make the C library return freed memory immediately, so that growth is visible; call before allocating."""
    _set_mmap_threshold(2**16)


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks again, as it does in any long run; call before timing."""
    _set_mmap_threshold(2**25)


def _set_mmap_threshold(size: int) -> None:
    with suppress(OSError, AttributeError):  # no such library; peak_bytes has no other measure either
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, size)


def _kilobytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])
