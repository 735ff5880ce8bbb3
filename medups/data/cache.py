"""Cases in canonical form on disk, from which a slice or a patch is read without its volume."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.transforms import Compose
from numpy.typing import NDArray

from medups.data.canonical import ORIENTATION, Grid
from medups.data.cases import Case
from medups.data.labels import LabelSet
from medups.data.parallel import in_parallel
from medups.data.preprocessed import files_of
from medups.data.readers import on_grid_of, read_labels, read_scan
from medups.data.resize import resize_image, resize_labels, resized_shape
from medups.data.store import Stored, open_entry, store
from medups.data.transforms import without_history
from medups.errors import InputError
from medups.files import file_sha256

_FORMAT = 2
_FOREGROUND_POINTS = 20_000


@dataclass(frozen=True)
class StoredCase:
    """image: intensities [S, P, L]; label: uint8 ids of the target set [S, P, L]."""

    name: str
    image: Stored
    label: Stored


@dataclass(frozen=True)
class CachedCase(StoredCase):
    """One case as its files have it.

    foreground: int32 [n, 3] voxel indices of organs, evenly thinned; spacing: mm along the axes.
    """

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
    mask, goal = case.label, tuple(spacing) if spacing else None
    settings = [_FORMAT, ORIENTATION, dict(source.organs), dict(target.organs), goal]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for path in (case.image, mask):
        for file in files_of(path):
            try:
                digest.update(file_sha256(file))
            except OSError as error:
                raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    entry = folder / f"{case.name}-{digest.hexdigest()[:20]}"
    about = open_entry(entry, lambda aside: _canonical(case.image, mask, aside, source, target, goal))
    image, label = _arrays(entry)
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


def prepared(case: CachedCase, transform: Compose, specs: Sequence[Mapping[str, Any]]) -> StoredCase:
    """The case with ``transform`` done to each slice, from beside its own entry where that was done before.

    Args:
        transform: of ``image`` float32 and ``label`` uint8 [1, H, W], without randomness; all slices get one size.
        specs: what ``transform`` was built of; others have an entry of their own.
    """
    settings = [_FORMAT, monai.__version__, list(specs)]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    source = case.image.path.parent
    entry = source.with_name(f"{source.name}-{digest[:20]}")
    open_entry(entry, lambda aside: _transformed(case, transform, aside))
    return StoredCase(case.name, *_arrays(entry))


def as_sample(image: NDArray[Any], label: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
    """What transforms are called with: image float32 and label uint8, with a channel axis."""
    values = torch.from_numpy(image.astype(np.float32, copy=False))
    return {"image": values[None], "label": torch.from_numpy(label)[None]}


def _arrays(entry: Path) -> tuple[Stored, Stored]:
    return Stored(entry / "image.b2nd"), Stored(entry / "label.b2nd")


def _write_arrays(image: NDArray[Any], label: NDArray[np.uint8], entry: Path) -> None:
    for stored, array in zip(_arrays(entry), (image, label), strict=True):
        store(array, stored.path)


def _canonical(
    image_path: Path,
    mask_path: Path,
    entry: Path,
    source: LabelSet,
    target: LabelSet,
    spacing: tuple[float, ...] | None,
) -> dict[str, Any]:
    scan = read_scan(image_path)
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
    _write_arrays(image, label, entry)
    np.save(entry / "foreground.npy", points[:: -(-len(points) // _FOREGROUND_POINTS)])
    return {"spacing": spacing or grid.spacing}


def _transformed(case: CachedCase, transform: Compose, entry: Path) -> dict[str, Any]:
    with without_history():
        slices: list[Any] = [transform(as_sample(*pair)) for pair in zip(case.image[:], case.label[:], strict=True)]
    image, label = (torch.cat([one[key] for one in slices]).numpy() for key in ("image", "label"))
    _write_arrays(image.astype(np.float32), label.astype(np.uint8), entry)
    return {}
