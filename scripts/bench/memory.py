"""The most memory that a piece of work holds beyond what was there before."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

_MMAP_THRESHOLD, _SMALL, _LARGE = -3, 2**16, 2**25  # of mallopt, and bytes
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
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, _SMALL)  # what is freed goes back at once and does not count
        libc.malloc_trim(0)  # nor does what earlier work freed hide the growth
        _CLEAR.write_text("5", encoding="ascii")  # resets the high-water mark
        before = _kilobytes("VmRSS")
        work()
        return 1024 * (_kilobytes("VmHWM") - before)
    except (OSError, AttributeError):
        return None


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks again, as it does by itself in any long run: for timing."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, _LARGE)


def _kilobytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])
