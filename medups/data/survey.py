"""What a dataset holds and what is wrong with it, found out before anyone trains on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medups.data.canonical import Grid
from medups.data.cases import Case
from medups.data.labels import LabelSet, UnknownIdsError, fitting_sets
from medups.data.readers import on_grid_of, read_labels, read_scan
from medups.errors import InputError

# pairs of organs of which the first lies further to the patient's left
_LEFT_OF = (("left_kidney", "right_kidney"), ("spleen", "liver"), ("left_adrenal_gland", "right_adrenal_gland"))


@dataclass
class CaseFacts:
    """One case.

    shape, spacing_mm: along the canonical axes. intensities: 1st percentile, median and 99th. volumes_ml: by organ,
    0 where it is absent, in voxels where the spacing is not known. ids: of the mask, but 0. problems: what keeps it
    from being used. doubts: what a person should look at.
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
    """Facts and canonical volumes of one case; without volumes where they could not be read."""

    facts: CaseFacts
    image: NDArray[np.float32] | None = None
    label: NDArray[np.uint8] | None = None


def survey_case(case: Case, source: LabelSet, target: LabelSet) -> Surveyed:
    """Read scan and mask, and find all that is wrong with them at once."""
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
        facts.ids = error.found if isinstance(error, UnknownIdsError) else facts.ids
        mask = None
    if scan is None:
        return Surveyed(facts)
    grid = Grid(scan.data.shape, scan.affine)
    image = grid.to_canonical(scan.data)
    facts.shape = image.shape
    facts.spacing_mm = grid.spacing if scan.has_spacing else None
    facts.intensities = tuple(float(value) for value in np.percentile(image, (1, 50, 99)))
    facts.fingerprint = hashlib.sha256(image.tobytes()).hexdigest()
    if mask is None:
        return Surveyed(facts, image)
    label = source.convert(grid.to_canonical(mask.data), target)
    counts = np.bincount(label.ravel(), minlength=max(target.organs) + 1)
    millilitres = float(np.prod(grid.spacing)) / 1000 if scan.has_spacing else 1.0
    facts.volumes_ml = {organ: float(counts[number] * millilitres) for number, organ in target.organs.items()}
    if not counts[1:].any():
        facts.problems.append(f"{mask.source}: no organ of the set {target.name!r} in this mask")
    facts.doubts.extend(_mirrored(label, target))
    return Surveyed(facts, image, label)


def remap(facts: Sequence[CaseFacts], source: LabelSet) -> Iterator[str]:
    """The setting that would name all ids of all masks, where ``source`` does not."""
    found = set().union(*(one.ids for one in facts))
    unknown = sorted(found - set(source.organs))
    if unknown and (fitting := fitting_sets(found)):
        others = f" (or {', '.join(fitting[1:])})" if fitting[1:] else ""
        yield f"data.source_labels={fitting[0]}{others} has all ids of all masks"
    elif unknown:
        table = ", ".join(f"{number}: {source.organs.get(number, 'NAME')}" for number in sorted(found))
        yield (
            f"no shipped label set has all of these ids: write a file own.yaml, 'organs: {{{table}}}', with the organs "
            f"of {', '.join(map(str, unknown))}, and give data.source_labels=own.yaml"
        )


def repeated(facts: Sequence[CaseFacts]) -> Iterator[str]:
    """Scans that are there under several names: one in training and one in testing would flatter every score."""
    names: dict[str, list[str]] = {}
    for one in facts:
        if one.fingerprint:
            names.setdefault(one.fingerprint, []).append(one.name)
    for same in names.values():
        if len(same) > 1:
            yield f"cases {', '.join(same)} hold the same scan; keep one"


def _mirrored(label: NDArray[np.uint8], labels: LabelSet) -> Iterator[str]:
    for left, right in _LEFT_OF:
        if left in labels.names and right in labels.names:
            places = [np.flatnonzero((label == labels.id_of(organ)).any((0, 1))) for organ in (left, right)]
            if all(len(place) for place in places) and places[0].mean() < places[1].mean():
                yield f"{left} lies to the right of {right}: check the orientation of the file and its ids"
