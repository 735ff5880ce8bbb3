"""Reading and validation of scans and label masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medups.data.labels import LabelSet
from medups.data.volumes.dicom import only_series, read_series
from medups.data.volumes.find import ScanFile
from medups.data.volumes.itk import is_itk, read_itk
from medups.data.volumes.nifti import read_nifti
from medups.data.volumes.transunet import is_preprocessed, read_preprocessed
from medups.data.volumes.volume import Volume
from medups.errors import InputError


def read_scan(source: Path | ScanFile, resample: bool = False) -> Volume:
    """A scan as float32 intensities, or as integers of up to 16 bits if the file stores such.

    Args:
        source: a file, the folder of the only DICOM series in it, or what
            :func:`~medups.data.volumes.find.find_scans` found.
        resample: see :func:`~medups.data.volumes.dicom.read_series`.

    Raises:
        InputError: an error of the file readers, a voxel that is not finite, or an image of a single value.
    """
    if isinstance(source, ScanFile) and source.series is not None:
        return checked_scan(read_series(source.series, resample))
    path = source.path if isinstance(source, ScanFile) else source
    return checked_scan(read_series(only_series(path), resample) if path.is_dir() else _read(path, "image"))


def checked_scan(volume: Volume) -> Volume:
    """``volume`` as float32, or as its own integers of up to 16 bits, which take less memory.

    Raises:
        InputError: values that are not finite, or all equal.
    """
    data = np.asarray(volume.data)
    if data.dtype.kind not in "iu" or data.dtype.itemsize > 2:
        with np.errstate(over="ignore"):  # what float32 cannot hold is not finite below
            data = data.astype(np.float32, copy=False)
    if not np.isfinite(data).all():
        count = int((~np.isfinite(data)).sum())
        raise InputError(f"{volume.source}: {count} voxels are not finite numbers; repair the image")
    if data.min() == data.max():
        raise InputError(f"{volume.source}: all voxels have the value {data.flat[0]:g}; this is not a scan")
    return replace(volume, data=data)


def read_labels(path: Path, labels: LabelSet) -> Volume:
    """A label mask as int32 ids of ``labels``; whole numbers stored as floats are accepted.

    Raises:
        InputError: an error of the file readers, values that are not whole, or ids outside the set.
    """
    volume = _read(path, "label")
    data = np.asarray(volume.data)
    ids = np.asarray(np.rint(data), dtype=np.int32) if np.isfinite(data).all() else None
    if ids is None or (data.dtype.kind == "f" and np.abs(data - ids).max() > 1e-3):
        raise InputError(f"{path}: a label mask must hold whole numbers, found fractions (an interpolated mask?)")
    labels.check_ids(ids, str(path))
    return replace(volume, data=ids)


def _read(path: Path, key: str) -> Volume:
    if is_preprocessed(path):
        return read_preprocessed(path, key)
    return read_itk(path) if is_itk(path) else read_nifti(path.with_suffix(".hdr") if path.suffix == ".img" else path)
