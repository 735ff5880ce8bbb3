"""Describe this machine and measure its peak speed, the lower bound for timings."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

_COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
_SQUARE = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Machine:
    """Measured bandwidth in bytes and peak in multiply-adds per second, with the hardware and software versions.

    ``peaks`` is keyed by dtype; float32 on a GPU is measured with TensorFloat32, the default of convolutions there.
    """

    device: str
    threads: int
    torch: str
    python: str
    commit: str
    date: str
    bandwidth: float
    peaks: Mapping[str, float]

    @classmethod
    def measure(cls, device: str, dtypes: Sequence[str] = ("float32",)) -> Machine:
        return cls(
            device=torch.cuda.get_device_name() if device == "cuda" else _processor(),
            threads=torch.get_num_threads(),
            torch=torch.__version__,
            python=platform.python_version(),
            commit=_commit(),
            date=date.today().isoformat(),
            bandwidth=_bandwidth(device),
            peaks={dtype: _peak(device, getattr(torch, dtype)) for dtype in dtypes},
        )

    def floor(self, moved: float, multiply_adds: float, dtype: str = "float32") -> float:
        """Minimum seconds to move ``moved`` bytes and, at the same time, compute ``multiply_adds``."""
        return max(moved / self.bandwidth, multiply_adds / self.peaks[dtype])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds of one call, including the work in the device's queue."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def take_turns(works: Mapping[str, Callable[[], object]], device: str, repeats: int) -> dict[str, list[float]]:
    """Time the works in turns, ``repeats`` times each, after a warm-up turn."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(-1, repeats):
        for name, work in works.items():
            seconds = timed(work, device)
            if turn >= 0:
                taken[name].append(seconds)
        print(f"turn {turn + 1} of {repeats}", flush=True)
    return taken


def _bandwidth(device: str) -> float:
    source = torch.zeros(_COPY_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(timed(lambda: target.copy_(source), device) for _ in range(7))


def _peak(device: str, dtype: torch.dtype) -> float:
    n = _SQUARE[device]
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    out = torch.empty_like(a)
    previous, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, True
    try:
        return float(n) ** 3 / min(timed(lambda: torch.mm(a, b, out=out), device) for _ in range(7))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = previous


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str:
    folder = Path(__file__).parent
    process = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True)
    return process.stdout.strip() or "unknown"
