"""Volumes as TransUNet's published preprocessing left them, brought back to Hounsfield units."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.nifti import Volume
from medups.errors import InputError

_WINDOW_HU = (-125.0, 275.0)
# Arrays [z, x, -y] of scans whose own axes run left, forward, up: the axes run up, left and back. Spacing was not kept.
_AFFINE = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def is_preprocessed(path: Path) -> bool:
    """A volume (``case0001.npy.h5``) or a pattern of slices (``case0005_slice*.npz``)?"""
    return path.name.endswith((".h5", "_slice*.npz"))


def files_of(path: Path) -> list[Path]:
    """The files that a case's path stands for: itself, what a folder holds, or what a pattern names."""
    if "*" in path.name:
        return sorted(path.parent.glob(path.name))
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def read_preprocessed(path: Path, key: str) -> Volume:
    """``image`` in Hounsfield units, as far as [-125, 275] was kept, or ``label``; at a spacing of 1, as none is known.

    Raises:
        InputError: nothing there, a damaged file, a key that is missing, slices of different size, or a missing slice.
    """
    data = _read_slices(path, key) if "*" in path.name else _read_h5(path, key)
    if data.ndim != 3 or data.dtype.kind not in "fiub":
        raise InputError(f"{path}: expected {key} of three axes, found {data.dtype} of {data.shape}")
    if key == "image":
        if data.min() < -0.01 or data.max() > 1.01:
            raise InputError(f"{path}: expected intensities of 0 to 1, found {data.min():g} to {data.max():g}")
        data = data.astype(np.float32) * (_WINDOW_HU[1] - _WINDOW_HU[0]) + _WINDOW_HU[0]
    return Volume(data, _AFFINE, str(path), has_spacing=False)


def _read_slices(pattern: Path, key: str) -> NDArray[Any]:
    files = files_of(pattern)
    numbers = [int(file.stem.rpartition("_slice")[2]) for file in files]
    holes = sorted(set(range(max(numbers, default=0) + 1)) - set(numbers))
    if holes:
        raise InputError(f"{pattern}: slices are missing: {len(files)} found, but not {holes[:5]}; get all")
    slices = []
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as content:
                slices.append(np.asarray(content[key]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{file}: expected an npz file with image and label, found {error}") from error
        if slices[-1].shape != slices[0].shape:
            raise InputError(f"{file}: slice of {slices[-1].shape}, {files[0].name} has {slices[0].shape}")
    return np.stack(slices)


def _read_h5(path: Path, key: str) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: reading .h5 files needs h5py: pip install h5py") from error
    try:
        with h5py.File(path, "r") as content:
            return np.asarray(content[key])
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: expected an h5 file with image and label, found {error}") from error
