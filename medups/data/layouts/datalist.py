"""MONAI's and the Decathlon's datalists: a JSON file that lists images and masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medups.data.cases import Case, Listing, case_key
from medups.data.labels import LabelSet
from medups.errors import InputError
from medups.files import read_json

_PARTS = {"training": "train", "validation": "val", "test": "test"}


def datalist(config: Mapping[str, Any]) -> Listing:
    """``root`` is the JSON file, or a folder with ``dataset.json``. Entries of ``training``, ``validation`` and
    ``test`` are ``{"image": ..., "label": ...}`` or, without a mask, a path; paths start at the file's folder."""
    path = Path(str(config["root"]))
    path = path / "dataset.json" if path.is_dir() else path
    content = read_json(path)
    if not isinstance(content, dict) or not content.get("training"):
        raise InputError(f"{path}: expected a datalist with the key training")
    cases: dict[str, Case] = {}
    split: dict[str, list[str]] = {}
    problems: list[str] = []
    for key, part in _PARTS.items():
        for entry in content.get(key) or []:
            case = _case(entry, path)
            if case.name in cases:
                raise InputError(f"{path}: two entries are named {case.name}; each case may stand there once")
            problems += case.missing_files(str(path))
            cases[case.name] = case
            split.setdefault(part, []).append(case.name)
    return Listing(cases, LabelSet.of_json(content, path) if "labels" in content else None, split, problems)


def _case(entry: object, source: Path) -> Case:
    files = {"image": entry} if isinstance(entry, str) else entry
    if not isinstance(files, dict) or "image" not in files:
        raise InputError(f"{source}: expected entries with image and label, found {entry!r}")
    if isinstance(files["image"], list):
        raise InputError(f"{source}: {files['image']} are several images of one case; networks here take one")
    image, label = (source.parent / str(files[key]) if files.get(key) else None for key in ("image", "label"))
    assert image is not None
    return Case(case_key(image), image, label)
