"""Synthetic pictures with masks and COCO annotations."""

from __future__ import annotations

from pathlib import Path

from medups.data.scenes import write_scenes
from medups.io.files import require_writable, user_path
from medups.progress import Progress, SilentProgress


def scenes(
    folder: str | Path,
    *,
    train: int = 200,
    val: int = 40,
    seed: int = 0,
    height: int = 96,
    width: int = 128,
    progress: Progress | None = None,
) -> Path:
    """Write synthetic scenes; see :func:`medups.data.scenes.write_scenes`."""
    target = user_path(folder)
    require_writable(target)
    update = (progress or SilentProgress()).share("scenes")
    for number, _ in enumerate(write_scenes(target, train, val, seed, height, width), start=1):
        update(number / (train + val))
    return target
