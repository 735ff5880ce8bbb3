"""Scans and label masks from files, checked before any work."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from medups.data.canonical import same_grid
from medups.data.cases import ONLY_CHANNEL, case_key
from medups.data.dicom import is_dicom, read_dicom, series_in
from medups.data.labels import LabelSet
from medups.data.nifti import Volume, read_nifti
from medups.data.preprocessed import is_preprocessed, read_preprocessed
from medups.errors import InputError

_OTHER_KINDS = (".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".mgz", ".nii", ".nii.gz")  # .NII: not read by name


def is_other_kind(path: Path) -> bool:
    """Is it named as a medical image of a kind, or in a way, that is not read or written here?"""
    return path.name.lower().endswith(_OTHER_KINDS) and not is_nifti(path)


def is_nifti(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def find_scans(path: Path) -> list[Path]:
    """The scans that ``path`` is or holds: a file (NIfTI, or a volume of TransUNet's preprocessing), a folder of one
    DICOM series, or a folder of all kinds.

    Raises:
        InputError: nothing there, an empty or unreadable folder, or something in it that looks like a scan and would
            be left out.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{path}: the folder cannot be read ({error.strerror})") from error
    scans = [entry for entry in entries if entry.is_file() and (is_nifti(entry) or is_preprocessed(entry))]
    folders = [entry for entry in entries if entry.is_dir()]
    series = [folder for folder in folders if series_in(folder)]
    deeper = [found for folder in folders if folder not in series for found in _dicom_within(folder)]
    if not (scans or series or deeper) and len(entries) > len(folders) and series_in(path):
        return [path]
    left_out = [entry for entry in entries if entry.is_file() and (is_other_kind(entry) or is_dicom(entry))] + deeper
    if left_out:
        names = ", ".join(str(entry.relative_to(path)) for entry in left_out[:5])
        raise InputError(
            f"{path}: {len(left_out)} entries look like scans and would be left out: {names}; expected .nii or .nii.gz "
            "files, and DICOM series each in a folder directly below"
        )
    if not scans + series:
        raise InputError(f"{path}: no scans in this folder; expected .nii or .nii.gz files, or DICOM series")
    return scans + series


def _dicom_within(folder: Path) -> list[Path]:
    """The first DICOM file somewhere in ``folder``, if any. Raises InputError where the folder cannot be read."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror})") from error

    for place, _, files in os.walk(folder, onerror=refuse):
        for name in sorted(files):
            if is_dicom(Path(place, name)):
                return [Path(place, name)]
    return []


def scans_by_key(path: Path) -> dict[str, Path]:
    """What :func:`find_scans` finds, by what pairs it with others: the name's :func:`case_key`, without nnU-Net's
    ``_0000`` where all have it. Raises InputError where two stand for one case."""
    found: dict[str, Path] = {}
    files = find_scans(path)
    keys = [case_key(file) for file in files]
    if all(key.endswith(ONLY_CHANNEL) for key in keys):
        keys = [key.removesuffix(ONLY_CHANNEL) for key in keys]
    for key, file in zip(keys, files, strict=True):
        first = found.setdefault(key, file)
        if first != file:
            raise InputError(f"{path}: {first.name} and {file.name} are one case by their names; keep one")
    return found


def read_scan(path: Path) -> Volume:
    """A scan as :func:`find_scans` lists them, as float32 intensities.

    Raises:
        InputError: what the file readers raise, a voxel that is not a number, or an image of one value.
    """
    volume = read_dicom(path) if path.is_dir() else _read(path, "image")
    data = np.asarray(volume.data, dtype=np.float32)
    if not np.isfinite(data).all():
        raise InputError(f"{path}: {int((~np.isfinite(data)).sum())} voxels are not finite numbers; mend the image")
    if data.min() == data.max():
        raise InputError(f"{path}: all voxels have the value {data.flat[0]:g}; this is no scan")
    return replace(volume, data=data)


def read_labels(path: Path, labels: LabelSet) -> Volume:
    """A label mask as int32 ids of ``labels``; whole numbers stored as floats are taken.

    Raises:
        InputError: what the NIfTI reader raises, values that are not whole, or ids outside the set.
    """
    volume = _read(path, "label")
    data = np.asarray(volume.data)
    whole = np.asarray(np.rint(data), dtype=np.int32) if np.isfinite(data).all() else None
    if whole is None or (data.dtype.kind == "f" and np.abs(data - whole).max() > 1e-3):
        raise InputError(f"{path}: a label mask must hold whole numbers; these are fractions (an interpolated mask?)")
    labels.check_ids(whole, str(path))
    return replace(volume, data=whole)


def _read(path: Path, key: str) -> Volume:
    return read_preprocessed(path, key) if is_preprocessed(path) else read_nifti(path)


def on_grid_of(mask: Volume, image: Volume) -> Volume:
    """``mask`` with its axes in the order and direction of ``image``'s: no voxel is resampled.

    Raises:
        InputError: the voxels of both do not lie on each other.
    """
    own, goal = (orientations.io_orientation(volume.affine) for volume in (mask, image))
    change = orientations.ornt_transform(own, goal)
    data = orientations.apply_orientation(mask.data, change)
    affine = mask.affine @ orientations.inv_ornt_aff(change, mask.data.shape)
    if data.shape != image.data.shape:
        raise InputError(
            f"{mask.source}: shape {mask.data.shape} differs from {image.data.shape} of {image.source}; "
            "bring both to one grid"
        )
    if not same_grid(affine, image.affine, image.data.shape):
        raise InputError(
            f"{mask.source}: the affine puts voxels elsewhere than {image.source}: found {_rows(mask.affine)}, "
            f"expected {_rows(image.affine)}; bring both to one grid"
        )
    return replace(mask, data=np.ascontiguousarray(data), affine=image.affine)


def _rows(affine: NDArray[np.float64]) -> str:
    return str(affine[:3].round(3).tolist())
