"""The table of ids beside a NIfTI mask."""

from __future__ import annotations

from pathlib import Path


def labels_file(mask: Path) -> Path:
    """The label table beside a mask: ``X.nii.gz`` has ``X.labels.json``."""
    return mask.with_name(mask.name.removesuffix(".gz").removesuffix(".nii") + ".labels.json")
