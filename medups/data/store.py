"""Entries of a cache: folders of compressed arrays that appear whole, are checked when opened, and mend themselves."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from medups.errors import InputError
from medups.files import remove_abandoned, umask

_ABOUT = "about.json"
_BLOCK = (1, 128, 128)  # what is decompressed at once: little is wasted for a slice, nor for a patch
_CHUNK = (16, 512, 512)


class Stored:
    """An array on disk, read by indexing; what is not asked for is not read. It is opened once in each process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: Any = None

    @property
    def _array(self) -> Any:
        if self._opened is None:
            self._opened = blosc2.open(str(self.path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))
        return self._opened

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._array.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return self._array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._array[:], dtype=dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_opened": None}


def store(array: NDArray[Any], path: Path) -> None:
    """Write a volume [S, P, L] to be read as :class:`Stored`."""
    chunks, blocks = (tuple(np.minimum(array.shape, size).tolist()) for size in (_CHUNK, _BLOCK))
    how = blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.BITSHUFFLE], nthreads=1)
    blosc2.asarray(array, urlpath=str(path), mode="w", chunks=chunks, blocks=blocks, cparams=how)


def open_entry(entry: Path, make: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """What the entry says of itself. Where it is missing or damaged, ``make`` is called with an empty folder: it writes
    files into it and returns what the entry shall say. Several processes may make one entry at once.

    Raises:
        InputError: the entry's folder cannot be written.
        OSError: what was written reads back otherwise, or a damaged entry cannot be replaced.
    """
    for _ in range(2):  # another process may take away what both found damaged just after this one put it right
        about = _about(entry)
        if about is not None:
            return about
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(entry.parent, f".{entry.name}-")
            aside = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
        except OSError as error:
            raise InputError(f"{entry.parent}: the cache cannot be written there ({error.strerror})") from error
        try:
            said = dict(make(aside))
            checksums = {path.name: _checksum(path) for path in sorted(aside.iterdir())}
            (aside / _ABOUT).write_text(json.dumps({**said, "checksums": checksums}))
            aside.chmod(0o777 & ~umask())  # others may read it as they may any file
            _put(aside, entry)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    about = _about(entry)
    if about is None:
        raise OSError(f"{entry}: what was written to the cache reads back otherwise; check the disk")
    return about


def _about(entry: Path) -> dict[str, Any] | None:
    """What the entry says of itself, or None where it is missing or damaged."""
    try:
        about = json.loads((entry / _ABOUT).read_text())
        whole = all(_checksum(entry / name) == value for name, value in about["checksums"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if whole else None


def _checksum(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


def _put(aside: Path, entry: Path) -> None:
    """Move the new entry to its place, where another process may have put the same, or a damaged one lie."""
    for _ in range(3):
        try:
            os.rename(aside, entry)
            return
        except OSError:
            if not entry.is_dir():
                raise
            if _about(entry) is not None:
                return
            shutil.rmtree(entry, ignore_errors=True)
    raise OSError(f"{entry}: a damaged cache entry cannot be replaced; remove it")
