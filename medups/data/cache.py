"""Cases in canonical form on disk, compressed, from which a slice or a patch is read without its volume."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from medups.data.canonical import ORIENTATION, Grid
from medups.data.cases import Case
from medups.data.labels import LabelSet
from medups.data.parallel import in_parallel
from medups.data.preprocessed import files_of
from medups.data.readers import on_grid_of, read_labels, read_scan
from medups.data.resize import resize_image, resize_labels, resized_shape
from medups.errors import InputError

_FORMAT = 2
_FOREGROUND_POINTS = 20_000
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


@dataclass(frozen=True)
class CachedCase:
    """One case in the cache.

    image: intensities [S, P, L]; label: uint8 ids of the target set [S, P, L]; foreground: int32 [n, 3]
    voxel indices of organs, evenly thinned; spacing: mm along the axes.
    """

    name: str
    image: Stored
    label: Stored
    foreground: NDArray[np.int32]
    spacing: tuple[float, ...]


def cached(
    case: Case, folder: Path, source: LabelSet, target: LabelSet, spacing: Sequence[float] | None = None
) -> CachedCase:
    """The case in canonical orientation, from ``folder`` where the same files were read with the same settings.

    An entry whose checksums are not those it was written with is made anew. Several processes may build one cache.

    Args:
        spacing: resample to these millimetres along the canonical axes; None keeps each scan's own.

    Raises:
        InputError: what the readers raise, no mask, or a mask without any organ of ``target``.
    """
    if case.label is None:
        raise InputError(f"{case.image}: case {case.name} has no mask to be trained or scored with")
    settings = [_FORMAT, ORIENTATION, dict(source.organs), dict(target.organs), list(spacing) if spacing else None]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for path in (case.image, case.label):
        for file in files_of(path):
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    entry = folder / f"{case.name}-{digest.hexdigest()[:20]}"
    about = _about(entry)
    if about is None:
        _store(case, case.label, entry, source, target, tuple(spacing) if spacing else None)
        about = _about(entry)
        if about is None:
            raise OSError(f"{entry}: what was written to the cache reads back otherwise; check the disk")
    image, label = (Stored(entry / f"{name}.b2nd") for name in ("image", "label"))
    return CachedCase(case.name, image, label, np.load(entry / "foreground.npy"), tuple(about["spacing"]))


def read_cases(
    cases: Iterable[Case],
    folder: str | Path,
    source: LabelSet,
    target: LabelSet,
    spacing: Sequence[float] | None = None,
) -> Iterator[CachedCase]:
    """:func:`cached` of each case, a few at a time; ``~`` in ``folder`` is the home."""
    place = Path(folder).expanduser()
    return in_parallel(lambda case: cached(case, place, source, target, spacing), cases)


def _about(entry: Path) -> dict[str, Any] | None:
    """What the entry says of itself, or None where it is missing or damaged."""
    try:
        about = json.loads((entry / "about.json").read_text())
        whole = all(_checksum(entry / name) == value for name, value in about["checksums"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if whole else None


def _checksum(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


def _store(
    case: Case, mask_path: Path, entry: Path, source: LabelSet, target: LabelSet, spacing: tuple[float, ...] | None
) -> None:
    scan = read_scan(case.image)
    if spacing:
        scan.require_spacing("a network that is trained at a spacing of its own")
    mask = on_grid_of(read_labels(mask_path, source), scan)
    grid = Grid(scan.data.shape, scan.affine)
    shape = resized_shape(grid.to_canonical(scan.data).shape, grid.spacing, spacing)
    image = resize_image(grid.to_canonical(scan.data), shape)
    label = resize_labels(source.convert(grid.to_canonical(mask.data), target), shape)
    points = np.argwhere(label > 0).astype(np.int32)
    if not len(points):
        raise InputError(f"{mask_path}: no organ of the set {target.name!r} in this mask; check the label set")
    if np.array_equal(image, np.rint(image)) and np.abs(image).max() < 2**15:
        image = image.astype(np.int16)
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{case.name}-", dir=entry.parent))
    try:
        for name, array in (("image", image), ("label", label)):
            _compress(array, aside / f"{name}.b2nd")
        np.save(aside / "foreground.npy", points[:: -(-len(points) // _FOREGROUND_POINTS)])
        checksums = {path.name: _checksum(path) for path in sorted(aside.iterdir())}
        about = {"case": case.name, "spacing": spacing or grid.spacing, "checksums": checksums}
        (aside / "about.json").write_text(json.dumps(about))
        _put(aside, entry)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _compress(array: NDArray[Any], path: Path) -> None:
    chunks, blocks = (tuple(np.minimum(array.shape, size).tolist()) for size in (_CHUNK, _BLOCK))
    how = blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.BITSHUFFLE], nthreads=1)
    blosc2.asarray(array, urlpath=str(path), mode="w", chunks=chunks, blocks=blocks, cparams=how)


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
