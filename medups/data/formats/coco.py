"""COCO's annotations of objects, or of panoptic segments."""

from __future__ import annotations

from medups.data.cases import PARTS, Case, DataSpec, Listing
from medups.data.formats.root import root_of
from medups.data.labels import LabelSet, label_set
from medups.data.pictures.coco import CocoFile, read_coco
from medups.errors import InputError

_SHOWN = 5


def coco(data: DataSpec) -> Listing:
    """Pictures in ``root/images`` and annotation files ``root/labels``, where ``data.images`` and ``data.labels`` may
    contain ``{part}``, which stands for ``train``, ``val`` and ``test``; files of the last two may be missing.

    A case is named after its picture's file, without the ending. Pictures without annotations are not trained on.
    """
    root = root_of(data)
    cases: dict[str, Case] = {}
    split: dict[str, list[str]] = {}
    problems: list[str] = []
    notes: list[str] = []
    labels: LabelSet | None = None
    for part in PARTS if "{part}" in data.labels else ("",):
        path = root / data.labels.replace("{part}", part)
        if part in ("val", "test") and not path.is_file():
            continue
        file = read_coco(path)
        labels = labels or _labels(file, data.source_labels)
        if file.labels.organs != labels.organs:
            raise InputError(f"{path}: its categories differ from those of the other annotation files")
        names = list(file.images)
        if repeated := [name for name in names if name in cases]:
            raise InputError(f"{path}: the pictures {', '.join(repeated[:_SHOWN])} are in another part too")
        folder = root / data.images.replace("{part}", part)
        listed = {name: Case(name, folder / file.images[name]["file_name"], path) for name in names}
        missing = [str(case.image) for case in listed.values() if not case.image.is_file()]
        if missing:
            problems.append(f"{path}: {len(missing)} of its pictures do not exist: {', '.join(missing[:_SHOWN])}")
        cases |= listed
        kept = [name for name in names if _usable(file, name, part == "train")]
        notes += _notes(file, len(names) - len(kept))
        if part:
            split[part] = kept
    return Listing(cases, labels, split, problems, notes=notes)


def _usable(file: CocoFile, name: str, learned: bool) -> bool:
    """Pictures without objects are scored, and pictures without a panoptic mask are not."""
    entries = file.annotations[name]
    if file.panoptic:
        return bool(entries)
    return not learned or any(not entry.get("iscrowd") for entry in entries)


def _notes(file: CocoFile, left_out: int) -> list[str]:
    notes = []
    if file.degenerate:
        notes.append(f"{file.path.name}: {file.degenerate} objects without an area are left out")
    if left_out:
        notes.append(f"{file.path.name}: {left_out} pictures without annotations are not used")
    return notes


def _labels(file: CocoFile, name: str | None) -> LabelSet:
    """The label set of this name, which must have the file's categories."""
    if name is None:
        raise InputError(
            f"data.source_labels: name the label set of {file.path}: coco_objects, coco_panoptic, or a YAML file"
        )
    labels = label_set(name)
    if dict(labels.organs) != dict(file.labels.organs):
        differ = sorted(set(labels.organs.items()) ^ set(file.labels.organs.items()))[:_SHOWN]
        raise InputError(f"{file.path}: its categories differ from data.source_labels={name}, such as {differ}")
    return labels
