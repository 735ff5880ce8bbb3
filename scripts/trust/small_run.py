"""The small training run that the campaigns repeat."""

from __future__ import annotations

from pathlib import Path

from medups.workflows.phantom import phantom


def small_run(work: Path, *overrides: str) -> list[str]:
    """Settings without an output, on phantoms in ``work/data``, which are written if they are missing."""
    data = work / "data"
    if not data.is_dir():
        phantom(data, cases=6, size=64, slices=8)
    return [
        "data=phantom", f"data.root={data}", f"data.cache={work / 'cache'}", "data.split.train=['0001','0002']",
        "data.split.val=['0003']", "data.split.test=['0004']", "network=transunet_tiny", "training=quick",
        "training.workers=0", *overrides,
    ]  # fmt: skip
