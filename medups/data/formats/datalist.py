"""MONAI's and the Decathlon's datalists: a JSON file that lists images and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medups.data.cases import Case, DataSpec, Listing, case_key
from medups.data.formats.root import root_of
from medups.data.labels import LabelSet
from medups.errors import InputError
from medups.io.files import read_json, user_path

_PARTS = {"training": "train", "validation": "val", "test": "test"}
# keys that are used or only descriptive
_KNOWN_KEYS = {
    *_PARTS, "labels", "name", "description", "reference", "licence", "license", "release", "relase", "author",
    "modality", "channel_names", "tensorImageSize", "numTraining", "numTest", "numValidation", "file_ending",
}  # fmt: skip
_KNOWN_ENTRY_KEYS = {"image", "label", "fold"}


def datalist(data: DataSpec) -> Listing:
    """``root`` is the JSON file, or a folder with ``dataset.json``.

    Entries of ``training``, ``validation`` and ``test`` are ``{"image": ..., "label": ...}``, optionally with the
    ``fold`` of Auto3DSeg, or a path for an unlabeled scan. Paths are relative to the file's folder. Cases are named
    after their files, or after the files' folders if several files have the same name.

    Raises:
        InputError: not a datalist, an entry with several images, or two entries with the same name.
    """
    path = root_of(data)
    path = path / "dataset.json" if path.is_dir() else path
    content = read_json(path)
    if not isinstance(content, dict) or not content.get("training"):
        raise InputError(f"{path}: expected a datalist with the key training")
    for key in _PARTS:
        if not isinstance(content.get(key) or [], list):
            raise InputError(f"{path}: expected a list of entries in {key}, found {content[key]!r}")
    entries = [_entry(value, part, path) for key, part in _PARTS.items() for value in content.get(key) or []]
    by_folder = max(Counter(case_key(entry.image) for entry in entries).values()) > 1
    cases: dict[str, Case] = {}
    split: dict[str, list[str]] = {}
    folds: dict[str, int] = {}
    problems: list[str] = []
    for entry in entries:
        name = case_key(entry.image.parent if by_folder else entry.image)
        if name in cases:
            raise InputError(
                f"{path}: two entries are named {name}; give files or their folders different names, or use data=list"
            )
        case = cases[name] = Case(name, entry.image, entry.label)
        problems += case.missing_files(str(path))
        split.setdefault(entry.part, []).append(name)
        if entry.fold is not None:
            folds[name] = entry.fold
    labels = LabelSet.of_json(content, path) if "labels" in content else None
    unused = sorted(set(content) - _KNOWN_KEYS) + sorted({key for entry in entries for key in entry.unused})
    notes = [f"{path}: ignored keys: {', '.join(unused)}"] if unused else []
    return Listing(cases, labels, split, problems, folds, notes)


@dataclass(frozen=True)
class _Entry:
    part: str
    image: Path
    label: Path | None
    fold: int | None = None
    unused: tuple[str, ...] = field(default=())


def _entry(value: object, part: str, source: Path) -> _Entry:
    files: Any = {"image": value} if isinstance(value, str) else value
    if not isinstance(files, Mapping) or "image" not in files:
        raise InputError(f"{source}: expected entries with image and label, found {value!r}")
    if isinstance(files["image"], list):
        raise InputError(f"{source}: expected one image per case, found several images: {files['image']}")
    fold = files.get("fold")
    if fold is not None and (not isinstance(fold, int) or fold < 0):
        raise InputError(f"{source}: expected fold to be a whole number, 0 or more, found {fold!r}")
    label = source.parent / user_path(str(files["label"])) if files.get("label") else None
    unused = tuple(str(key) for key in files if key not in _KNOWN_ENTRY_KEYS)
    return _Entry(part, source.parent / user_path(str(files["image"])), label, fold, unused)
