"""Synthetic scans in the Synapse format."""

from __future__ import annotations

from pathlib import Path

from medups.data.phantom import write_phantoms
from medups.io.files import require_writable, user_path
from medups.progress import Progress, SilentProgress


def phantom(
    folder: str | Path,
    *,
    cases: int = 20,
    seed: int = 0,
    size: int = 128,
    slices: int = 40,
    progress: Progress | None = None,
) -> Path:
    """Write abdominal CT phantoms with labels; see :func:`medups.data.phantom.write_phantoms`."""
    target = user_path(folder)
    require_writable(target)
    update = (progress or SilentProgress()).share("phantoms")
    for number, _ in enumerate(write_phantoms(target, cases, seed, size, slices), start=1):
        update(number / cases)
    return target
