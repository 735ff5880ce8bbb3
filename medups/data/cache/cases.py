"""Cached cases: in canonical form, and with the deterministic transforms of a recipe applied."""

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

from medups.data.cache.entries import StoredArray, open_entry, write_array
from medups.data.cases import Case
from medups.data.labels import LabelSet
from medups.data.parallel import in_parallel
from medups.data.transforms import without_transform_record
from medups.data.volumes.files import files_of
from medups.data.volumes.grid import ORIENTATION, Grid, on_grid_of
from medups.data.volumes.read import read_labels, read_scan
from medups.data.volumes.resize import resize_image, resize_labels, resized_shape
from medups.errors import InputError
from medups.io.files import file_sha256, file_states, require_unchanged, user_path

_FORMAT = 2
_FOREGROUND_POINTS = 20_000


@dataclass(frozen=True)
class StoredCase:
    """image: intensities [S, P, L]; label: uint8 ids of the target set [S, P, L]."""

    name: str
    image: StoredArray
    label: StoredArray


@dataclass(frozen=True)
class CachedCase(StoredCase):
    """One case in canonical orientation.

    foreground: int32 [n, 3] voxel indices of organs, evenly subsampled; empty for a case without organs.
    spacing: mm along the axes.
    """

    foreground: NDArray[np.int32]
    spacing: tuple[float, ...]


def cached(
    case: Case, folder: Path, source: LabelSet, target: LabelSet, spacing: Sequence[float] | None = None
) -> CachedCase:
    """The case in canonical orientation, read from ``folder`` if the same files were cached with the same settings.

    An entry that fails its checksums is rebuilt. Several processes may build one cache.

    Args:
        source: the label set of the mask.
        target: the label set to convert to, by organ name.
        spacing: resample to these millimeters along the canonical axes; None keeps each scan's spacing.

    Raises:
        InputError: a file cannot be read or is invalid, or the case has no mask.
    """
    if case.label is None:
        raise InputError(f"{case.image}: case {case.name} has no mask to train on or to score with")
    mask, goal = case.label, tuple(spacing) if spacing else None
    settings = [_FORMAT, ORIENTATION, dict(source.organs), dict(target.organs), goal]
    digest = hashlib.sha256(json.dumps(settings).encode())
    files = [file for path in (case.image, mask) for file in files_of(path)]
    before = file_states(files)
    for file in files:
        try:
            digest.update(file_sha256(file))
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    entry = folder / f"{case.name}-{digest.hexdigest()[:20]}"

    def write(staging: Path) -> dict[str, Any]:
        facts = _write_canonical(case.image, mask, staging, source, target, goal)
        require_unchanged(files, before)
        return facts

    facts = open_entry(entry, write)
    image, label = _arrays(entry)
    return CachedCase(case.name, image, label, np.load(entry / "foreground.npy"), tuple(facts["spacing"]))


def read_cases(
    cases: Iterable[Case],
    folder: str | Path,
    source: LabelSet,
    target: LabelSet,
    spacing: Sequence[float] | None = None,
) -> Iterator[CachedCase]:
    """:func:`cached` for each case, a few at a time; ``~`` in ``folder`` is expanded."""
    cache = user_path(folder)
    return in_parallel(lambda case: cached(case, cache, source, target, spacing), cases)


def prepared(case: CachedCase, transform: Compose, specs: Sequence[Mapping[str, Any]]) -> StoredCase:
    """The case with ``transform`` applied to each slice, cached next to the case's entry.

    Args:
        transform: deterministic, for ``image`` float32 and ``label`` uint8 [1, H, W]; gives all slices the same size.
        specs: the configuration that ``transform`` was built from; identifies the entry.
    """
    settings = [_FORMAT, monai.__version__, list(specs)]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    source = case.image.path.parent
    entry = source.with_name(f"{source.name}-{digest[:20]}")
    open_entry(entry, lambda staging: _write_transformed(case, transform, staging))
    return StoredCase(case.name, *_arrays(entry))


def as_sample(image: NDArray[Any], label: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
    """The input of transforms: image float32 and label uint8, each with a channel axis."""
    values = torch.from_numpy(image.astype(np.float32, copy=False))
    return {"image": values[None], "label": torch.from_numpy(label)[None]}


def _arrays(entry: Path) -> tuple[StoredArray, StoredArray]:
    return StoredArray(entry / "image.b2nd"), StoredArray(entry / "label.b2nd")


def _write_arrays(image: NDArray[Any], label: NDArray[np.uint8], entry: Path) -> None:
    for stored, array in zip(_arrays(entry), (image, label), strict=True):
        write_array(array, stored.path)


def _write_canonical(
    image_path: Path,
    mask_path: Path,
    entry: Path,
    source: LabelSet,
    target: LabelSet,
    spacing: tuple[float, ...] | None,
) -> dict[str, Any]:
    scan = read_scan(image_path)
    if spacing:
        scan.require_spacing("training at a fixed spacing")
    mask = on_grid_of(read_labels(mask_path, source), scan)
    grid = Grid(scan.data.shape, scan.affine)
    shape = resized_shape(grid.to_canonical(scan.data).shape, grid.spacing, spacing)
    image = resize_image(grid.to_canonical(scan.data), shape)
    label = resize_labels(source.convert(grid.to_canonical(mask.data), target), shape)
    if np.array_equal(image, np.rint(image)) and np.abs(image).max() < 2**15:
        image = image.astype(np.int16)
    _write_arrays(image, label, entry)
    points = np.argwhere(label > 0).astype(np.int32)
    np.save(entry / "foreground.npy", points[:: max(1, -(-len(points) // _FOREGROUND_POINTS))])
    return {"spacing": spacing or grid.spacing}


def _write_transformed(case: CachedCase, transform: Compose, entry: Path) -> dict[str, Any]:
    with without_transform_record():
        samples: list[Any] = [transform(as_sample(*pair)) for pair in zip(case.image[:], case.label[:], strict=True)]
    image, label = (torch.cat([sample[key] for sample in samples]).numpy() for key in ("image", "label"))
    _write_arrays(image.astype(np.float32), label.astype(np.uint8), entry)
    return {}
