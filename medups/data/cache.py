"""Cases in canonical form on disk, from which a slice or a patch is read without its volume."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medups.data.canonical import ORIENTATION, Grid
from medups.data.cases import Case
from medups.data.labels import LabelSet
from medups.data.readers import on_grid_of, read_labels, read_scan
from medups.data.resize import resize_image, resize_labels, resized_shape
from medups.errors import InputError

_FORMAT = 1
_FOREGROUND_POINTS = 20_000


@dataclass(frozen=True)
class CachedCase:
    """Memory-mapped arrays of one case.

    image: intensities [S, P, L]; label: uint8 ids of the target set [S, P, L]; foreground: int32 [n, 3]
    voxel indices of organs, evenly thinned; spacing: mm along the axes.
    """

    name: str
    image: NDArray[np.generic]
    label: NDArray[np.uint8]
    foreground: NDArray[np.int32]
    spacing: tuple[float, ...]


def cached(
    case: Case, folder: Path, source: LabelSet, target: LabelSet, spacing: Sequence[float] | None = None
) -> CachedCase:
    """The case in canonical orientation, from ``folder`` where the same files were read with the same settings.

    Args:
        spacing: resample to these millimetres along the canonical axes; None keeps each scan's own.

    Raises:
        InputError: what the readers raise, or a mask without any organ of ``target``.
    """
    settings = [_FORMAT, ORIENTATION, dict(source.organs), dict(target.organs), list(spacing) if spacing else None]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for path in (case.image, case.label):
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    entry = folder / f"{case.name}-{digest.hexdigest()[:20]}"
    if not entry.is_dir():
        _store(case, entry, source, target, tuple(spacing) if spacing else None)
    arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r") for name in ("image", "label", "foreground")}
    return CachedCase(case.name, **arrays, spacing=tuple(json.loads((entry / "spacing.json").read_text())))


def _store(case: Case, entry: Path, source: LabelSet, target: LabelSet, spacing: tuple[float, ...] | None) -> None:
    scan = read_scan(case.image)
    mask = on_grid_of(read_labels(case.label, source), scan)
    grid = Grid(scan.data.shape, scan.affine)
    shape = resized_shape(grid.to_canonical(scan.data).shape, grid.spacing, spacing)
    image = resize_image(grid.to_canonical(scan.data), shape)
    label = resize_labels(source.convert(grid.to_canonical(mask.data), target), shape)
    points = np.argwhere(label > 0).astype(np.int32)
    if not len(points):
        raise InputError(f"{case.label}: no organ of the set {target.name!r} in this mask; check the label set")
    if np.array_equal(image, np.rint(image)) and np.abs(image).max() < 2**15:
        image = image.astype(np.int16)
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{case.name}-", dir=entry.parent))
    try:
        thin = -(-len(points) // _FOREGROUND_POINTS)
        for name, array in (("image", image), ("label", label), ("foreground", points[::thin])):
            np.save(aside / f"{name}.npy", array)
        (aside / "spacing.json").write_text(json.dumps(spacing or grid.spacing))
        try:
            os.rename(aside, entry)
        except OSError:
            if not entry.is_dir():  # else another process was faster with the same content
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
