"""Cache entries: folders of compressed arrays, written atomically, verified on opening and rebuilt if damaged."""

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
from medups.io.files import UMASK, remove_abandoned

_TABLE = "about.json"
_BLOCK = (1, 128, 128)  # unit of decompression; little is wasted for a slice or a patch
_CHUNK = (16, 512, 512)


class StoredArray:
    """An array on disk that reads only the indexed part. Each process opens it once."""

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


def write_array(array: NDArray[Any], path: Path) -> None:
    """Write a volume [S, P, L] to be read as :class:`StoredArray`."""
    chunks, blocks = (tuple(np.minimum(array.shape, size).tolist()) for size in (_CHUNK, _BLOCK))
    compression = blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.BITSHUFFLE], nthreads=1)
    blosc2.asarray(array, urlpath=str(path), mode="w", chunks=chunks, blocks=blocks, cparams=compression)


def open_entry(entry: Path, make: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """The facts stored in the entry; a missing entry is built, a damaged one rebuilt.

    Several processes may build the same entry at once.

    Args:
        make: called with an empty folder; writes files into it and returns the facts to store.

    Raises:
        InputError: the entry's folder cannot be written.
        OSError: the entry reads back differently than written, or a damaged entry cannot be replaced.
    """
    for _ in range(2):  # a second try: another process that found the same damage may remove the rebuilt entry
        facts = _facts(entry)
        if facts is not None:
            return facts
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(entry.parent, f".{entry.name}-")
            staging = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
        except OSError as error:
            raise InputError(f"{entry.parent}: the cache cannot be written to ({error.strerror})") from error
        try:
            facts = dict(make(staging))
            checksums = {path.name: _checksum(path) for path in sorted(staging.iterdir())}
            (staging / _TABLE).write_text(json.dumps({**facts, "checksums": checksums}))
            staging.chmod(0o777 & ~UMASK)  # mkdtemp makes private folders; other users may read the cache
            _move(staging, entry)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    facts = _facts(entry)
    if facts is None:
        raise OSError(f"{entry}: the cache entry reads back differently than it was written; check the disk")
    return facts


def _facts(entry: Path) -> dict[str, Any] | None:
    """The entry's table, or None if the entry is missing or damaged."""
    try:
        facts = json.loads((entry / _TABLE).read_text())
        intact = all(_checksum(entry / name) == value for name, value in facts["checksums"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts if intact else None


def _checksum(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


def _move(staging: Path, entry: Path) -> None:
    """Move the new entry into place: keep an intact entry of another process, replace a damaged one."""
    for _ in range(3):
        try:
            os.rename(staging, entry)
            return
        except OSError:
            if not entry.is_dir():
                raise
            if _facts(entry) is not None:
                return
            shutil.rmtree(entry, ignore_errors=True)
    raise OSError(f"{entry}: a damaged cache entry cannot be replaced; remove it")
