"""Label masks on disk: a NIfTI file and the table of its ids beside it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelArray, LabelSet
from medups.data.volumes.nifti import nifti_file_bytes
from medups.io.files import atomic_file, json_bytes


def labels_file(mask: Path) -> Path:
    """The label table beside a mask: ``X.nii.gz`` has ``X.labels.json``."""
    return mask.with_name(mask.name.removesuffix(".gz").removesuffix(".nii") + ".labels.json")


def write_mask(path: Path, ids: LabelArray, affine: NDArray[np.float64], labels: LabelSet) -> None:
    """Write a mask as NIfTI and the table of its ids beside it: both or neither, the table first."""
    table = {str(number): name for number, name in labels.organs.items()}
    with atomic_file(path) as mask, atomic_file(labels_file(path)) as names:
        mask.write(nifti_file_bytes(path, ids, affine))
        mask.flush()
        os.fsync(mask.fileno())  # a full disk raises here, before the table replaces an old one
        names.write(json_bytes(table))
