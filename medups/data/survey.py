"""Survey of a dataset before training: its content and its problems."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medups.data.cases import Case
from medups.data.labels import LabelSet, UnknownIdsError, fitting_sets
from medups.data.volumes.grid import Grid, on_grid_of
from medups.data.volumes.intensities import modality_code, not_hounsfield
from medups.data.volumes.read import read_labels, read_scan
from medups.data.volumes.volume import voxel_ml
from medups.errors import InputError

# pairs of organs; the first is further to the patient's left
_LEFT_OF = (("left_kidney", "right_kidney"), ("spleen", "liver"), ("left_adrenal_gland", "right_adrenal_gland"))


@dataclass
class CaseFacts:
    """Facts about one case.

    Args:
        shape, spacing_mm: along the canonical axes.
        intensities: 1st percentile, median and 99th percentile.
        volumes_ml: by organ, 0 for an absent one; in voxels if the spacing is unknown.
        ids: ids in the mask, except 0.
        problems: errors that make the case unusable.
        doubts: warnings that a person should check.
    """

    name: str
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] | None = None
    intensities: tuple[float, ...] = ()
    volumes_ml: dict[str, float] = field(default_factory=dict)
    fingerprint: str = ""
    ids: Set[int] = frozenset()
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Surveyed:
    """Facts and canonical volumes of one case; None for a volume that cannot be read."""

    facts: CaseFacts
    image: NDArray[np.float32] | None = None
    label: NDArray[np.uint8] | None = None


def survey_case(case: Case, source: LabelSet, target: LabelSet, modality: str = "CT") -> Surveyed:
    """Read scan and mask, and collect every problem in one pass. ``modality`` is that of the training scans."""
    facts = CaseFacts(case.name)
    scan = mask = None
    try:
        scan = read_scan(case.image)
    except InputError as error:
        facts.problems.append(str(error))
    try:
        if case.label is not None:
            mask = read_labels(case.label, source)
            facts.ids = set(np.flatnonzero(np.bincount(mask.data.ravel())).tolist()) - {0}
        if scan is not None and mask is not None:
            mask = on_grid_of(mask, scan)
    except InputError as error:
        facts.problems.append(str(error))
        facts.ids = error.ids if isinstance(error, UnknownIdsError) else facts.ids
        mask = None
    if scan is None:
        return Surveyed(facts)
    grid = Grid(scan.data.shape, scan.affine)
    image = grid.to_canonical(scan.data)
    facts.shape = image.shape
    facts.spacing_mm = grid.spacing if scan.has_spacing else None
    facts.intensities = tuple(float(value) for value in np.percentile(image, (1, 50, 99)))
    facts.doubts += [f"{scan.source}: {warning}" for warning in scan.warnings]
    if modality_code(modality) == "CT" and (reason := not_hounsfield(image)):
        facts.doubts.append(f"{scan.source}: {reason}")
    facts.fingerprint = hashlib.sha256(image.astype(np.float32).tobytes()).hexdigest()
    if mask is None:
        return Surveyed(facts, image)
    label = source.convert(grid.to_canonical(mask.data), target)
    counts = np.bincount(label.ravel(), minlength=max(target.organs) + 1)
    milliliters = voxel_ml(scan.affine) if scan.has_spacing else 1.0
    facts.volumes_ml = {organ: float(counts[number] * milliliters) for number, organ in target.organs.items()}
    if not counts[1:].any():
        facts.doubts.append(f"{mask.source}: no organ of the set {target.name!r} in this mask; kept as a negative case")
    facts.doubts.extend(_mirrored(label, target))
    return Surveyed(facts, image, label)


def remap(facts: Sequence[CaseFacts], source: LabelSet) -> Iterator[str]:
    """Suggest a ``data.source_labels`` that covers all ids of all masks, if ``source`` does not."""
    ids = set().union(*(case.ids for case in facts))
    unknown = sorted(ids - set(source.organs))
    if unknown and (fitting := fitting_sets(ids)):
        alternatives = f" (or {', '.join(fitting[1:])})" if fitting[1:] else ""
        yield f"data.source_labels={fitting[0]}{alternatives} names all ids of all masks"
    elif unknown:
        table = ", ".join(f"{number}: {source.organs.get(number, 'NAME')}" for number in sorted(ids))
        yield (
            f"no shipped label set names all of these ids: write a file own.yaml, 'organs: {{{table}}}', fill in the "
            f"organs of {', '.join(map(str, unknown))}, and set data.source_labels=own.yaml"
        )


def repeated(facts: Sequence[CaseFacts]) -> Iterator[str]:
    """Report scans stored under several names: copies in both training and test cases inflate every score."""
    names: dict[str, list[str]] = {}
    for case in facts:
        if case.fingerprint:
            names.setdefault(case.fingerprint, []).append(case.name)
    for copies in names.values():
        if len(copies) > 1:
            yield f"cases {', '.join(copies)} hold the same scan; keep one"


def _mirrored(label: NDArray[np.uint8], labels: LabelSet) -> Iterator[str]:
    for left, right in _LEFT_OF:
        if left in labels.names and right in labels.names:
            columns = [np.flatnonzero((label == labels.id_of(organ)).any((0, 1))) for organ in (left, right)]
            if all(len(span) for span in columns) and columns[0].mean() < columns[1].mean():
                yield f"{left} is to the right of {right}: check the file's orientation and label ids"
