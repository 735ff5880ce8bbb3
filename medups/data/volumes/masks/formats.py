"""The formats of masks by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.volumes.masks.dicom_seg import dicom_seg_bytes
from medups.data.volumes.masks.nifti import labels_file, nifti_mask_bytes
from medups.data.volumes.masks.nrrd import nrrd_bytes
from medups.data.volumes.masks.rtstruct import rtstruct_bytes
from medups.data.volumes.volume import Volume
from medups.io.files import atomic_file, json_bytes

FORMATS = {"nifti": ".nii.gz", "nrrd": ".seg.nrrd", "dicom-seg": ".seg.dcm", "rtstruct": ".rtstruct.dcm"}
"""The ending of each format's files."""
_WRITERS: Mapping[str, Callable[[NDArray[np.uint8], Volume, LabelSet], bytes | None]] = {
    "nrrd": nrrd_bytes,
    "dicom-seg": dicom_seg_bytes,
    "rtstruct": rtstruct_bytes,
}


def case_files(folder: Path, name: str, formats: Sequence[str]) -> dict[str, Path]:
    """The file of each format for the case ``name``."""
    return {kind: folder / f"{name}{FORMATS[kind]}" for kind in formats}


def write_masks(files: Mapping[str, Path], ids: NDArray[np.uint8], scan: Volume, labels: LabelSet) -> list[Path]:
    """Write a mask in several formats, all or none; NIfTI has a table of its ids beside it.

    Returns the written files. DICOM cannot express a mask without any organ: its files are then left out, and older
    ones removed.

    Args:
        files: by format.
        ids: on the grid of ``scan``.

    Raises:
        InputError: a scan whose mask a format cannot express, before anything is written.
    """
    contents: dict[Path, bytes] = {}
    for kind, path in files.items():
        if kind == "nifti":
            contents[path] = nifti_mask_bytes(path, ids, scan)
            contents[labels_file(path)] = json_bytes({str(number): name for number, name in labels.organs.items()})
        elif (content := _WRITERS[kind](ids, scan, labels)) is not None:
            contents[path] = content
    with ExitStack() as stack:
        for path, content in contents.items():
            file = stack.enter_context(atomic_file(path))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a full disk raises here, before any file replaces an old one
    for path in files.values():
        if path not in contents:
            path.unlink(missing_ok=True)
    return list(contents)
