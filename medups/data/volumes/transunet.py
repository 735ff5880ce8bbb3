"""Volumes written by TransUNet's published preprocessing, converted back to Hounsfield units."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.volume import Volume
from medups.errors import InputError
from medups.io.files import LARGEST_RATIO

_DAMAGED = (zlib.error, MemoryError, OverflowError, TypeError, NotImplementedError, RuntimeError, SyntaxError)
_WINDOW_HU = (-125.0, 275.0)
# Arrays [z, x, -y] of scans with axes left, anterior, superior: their axes run superior, left, posterior. No spacing.
_AFFINE = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def is_preprocessed(path: Path) -> bool:
    """Whether ``path`` is a volume (``case0001.npy.h5``) or a pattern of slices (``case0005_slice*.npz``)."""
    return path.name.endswith((".h5", "_slice*.npz"))


def read_preprocessed(path: Path, key: str) -> Volume:
    """``image`` in Hounsfield units, clipped to [-125, 275], or ``label``. The spacing is unknown and set to 1.

    Raises:
        InputError: no files, a damaged file, a missing key, slices of different sizes, or a missing slice.
    """
    data = _read_slices(path, key) if "*" in path.name else _read_h5(path, key)
    if data.ndim != 3 or not data.size or data.dtype.kind not in "fiub":
        raise InputError(f"{path}: expected {key} with three axes, found {data.dtype} of {data.shape}")
    if key == "image":
        if data.min() < -0.01 or data.max() > 1.01:
            raise InputError(f"{path}: expected intensities of 0 to 1, found {data.min():g} to {data.max():g}")
        data = data.astype(np.float32) * (_WINDOW_HU[1] - _WINDOW_HU[0]) + _WINDOW_HU[0]
    return Volume(data, _AFFINE, str(path), has_spacing=False)


def _read_slices(pattern: Path, key: str) -> NDArray[Any]:
    files = sorted(pattern.parent.glob(pattern.name))
    numbers = [int(file.stem.rpartition("_slice")[2]) for file in files]
    holes = sorted(set(range(max(numbers, default=0) + 1)) - set(numbers))
    if holes:
        raise InputError(f"{pattern}: slices are missing: {len(files)} found, without {holes[:5]}; copy the whole case")
    slices = []
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as content:
                _check_promise(content.zip, key)
                slices.append(np.asarray(content[key]))
        except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile, *_DAMAGED) as error:
            raise InputError(f"{file}: expected an npz file with image and label, found {error}") from error
        if slices[-1].shape != slices[0].shape:
            raise InputError(f"{file}: slice has shape {slices[-1].shape}, {files[0].name} has {slices[0].shape}")
    return np.stack(slices)


def _check_promise(archive: zipfile.ZipFile, key: str) -> None:
    """Raise ValueError if the array's header promises more bytes than the archive holds, before they are allocated."""
    member = archive.getinfo(f"{key}.npy")
    with archive.open(member) as file:
        read = np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(file) != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > min(member.file_size, LARGEST_RATIO * member.compress_size):
        raise ValueError(f"{key} promises an array of {shape}, the file has {member.file_size} bytes for it")


def _read_h5(path: Path, key: str) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: reading .h5 files needs h5py: pip install h5py") from error
    try:
        with h5py.File(path, "r") as content:
            if isinstance(content.get(key, getlink=True), h5py.ExternalLink):
                raise ValueError(f"{key} is a link to another file")
            stored = content[key]
            if isinstance(stored, h5py.Dataset) and (stored.external or stored.is_virtual):
                raise ValueError(f"the values of {key} are in another file")
            if not isinstance(stored, h5py.Dataset) or stored.nbytes > LARGEST_RATIO * path.stat().st_size:
                raise ValueError(f"{key} is no array, or promises more than the file can hold")
            return np.asarray(stored)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise InputError(f"{path}: expected an h5 file with image and label, found {error}") from error
