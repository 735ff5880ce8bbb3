"""The scans in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from medups.data.cases import ONLY_CHANNEL, case_key
from medups.data.volumes.dicom import is_dicom, series_in
from medups.data.volumes.transunet import is_preprocessed
from medups.errors import InputError

# .NII counts as another format because files are recognized by their lower-case endings
_OTHER_FORMATS = (".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".mgz", ".nii", ".nii.gz")


def is_nifti(path: Path) -> bool:
    """Whether the name has a supported NIfTI ending."""
    return path.name.endswith((".nii", ".nii.gz"))


def is_other_format(path: Path) -> bool:
    """Whether the name is that of a medical image in an unsupported format or spelling."""
    return path.name.lower().endswith(_OTHER_FORMATS) and not is_nifti(path)


def find_scans(path: Path) -> list[Path]:
    """The scan at ``path``, or the scans in that folder.

    Args:
        path: a NIfTI file, a volume of TransUNet's preprocessing, a folder with one DICOM series, or a folder of those.

    Raises:
        InputError: no such path, an empty or unreadable folder, or an entry that looks like a scan and would be
            left out.
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
    nested = [file for folder in folders if folder not in series for file in _first_dicom_in(folder)]
    if not (scans or series or nested) and len(entries) > len(folders) and series_in(path):
        return [path]
    skipped = [entry for entry in entries if entry.is_file() and (is_other_format(entry) or is_dicom(entry))] + nested
    if skipped:
        names = ", ".join(str(entry.relative_to(path)) for entry in skipped[:5])
        raise InputError(
            f"{path}: {len(skipped)} entries look like scans and would be left out: {names}; expected .nii or .nii.gz "
            "files, and DICOM series each in a folder directly below"
        )
    if not scans + series:
        raise InputError(f"{path}: no scans in this folder; expected .nii or .nii.gz files, or DICOM series")
    return scans + series


def scans_by_key(path: Path) -> dict[str, Path]:
    """What :func:`find_scans` returns, keyed by :func:`case_key`.

    nnU-Net's ``_0000`` is dropped if all names have it. Raises InputError if two scans share a key.
    """
    files = find_scans(path)
    keys = [case_key(file) for file in files]
    if all(key.endswith(ONLY_CHANNEL) for key in keys):
        keys = [key.removesuffix(ONLY_CHANNEL) for key in keys]
    by_key: dict[str, Path] = {}
    for key, file in zip(keys, files, strict=True):
        first = by_key.setdefault(key, file)
        if first != file:
            raise InputError(f"{path}: {first.name} and {file.name} name the same case; keep one")
    return by_key


def _first_dicom_in(folder: Path) -> list[Path]:
    """The first DICOM file anywhere below ``folder``, if any. Raises InputError if the folder cannot be read."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror})") from error

    for parent, _, files in os.walk(folder, onerror=refuse):
        for name in sorted(files):
            if is_dicom(Path(parent, name)):
                return [Path(parent, name)]
    return []
