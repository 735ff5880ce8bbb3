"""Cases of a dataset: where their files are and which of them train, validate and test."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medups.errors import InputError

_FOLDS = 5


@dataclass(frozen=True)
class Case:
    """A scan and its label mask."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Split:
    """Three lists of cases that share none."""

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]


def open_dataset(config: Mapping[str, Any]) -> Split:
    """The cases of a ``data`` configuration, split as it says.

    ``layout: synapse`` finds files under ``root``; ``layout: list`` takes ``cases``, each with name, image and
    label. Validation cases may be listed under ``train`` too; they are not trained on.

    Raises:
        InputError: missing files, a split that names unknown cases, or a case in two parts of the split.
    """
    layout = config["layout"]
    if layout == "synapse":
        cases = synapse_cases(Path(str(config["root"])))
    elif layout == "list":
        cases = _listed(config["cases"])
    else:
        raise InputError(f"data.layout must be 'synapse' or 'list', got {layout!r}")
    split = {part: _pick(cases, config["split"][part], part) for part in ("train", "val", "test")}
    if config.get("fold") is not None:
        pool = {case.name: case for part in ("train", "val") for case in split[part]}
        split["val"] = tuple(pool[name] for name in fold_of(list(pool), int(config["fold"])))
        split["train"] = tuple(pool.values())
    shared = {case.name for case in split["test"]} & {case.name for part in ("train", "val") for case in split[part]}
    if shared:
        raise InputError(f"data.split: {', '.join(sorted(shared))} would be trained on and tested on")
    held_out = {case.name for case in split["val"]}
    train = tuple(case for case in split["train"] if case.name not in held_out)
    if not train:
        raise InputError("data.split.train: no cases left to train on")
    return Split(train, split["val"], split["test"])


def fold_of(names: Sequence[str], fold: int) -> list[str]:
    """The cases that validate in ``fold`` of five: every case does in one, by a shuffle that is always the same.

    Raises:
        InputError: a fold beyond 0 to 4, or fewer than five cases.
    """
    if not 0 <= fold < _FOLDS:
        raise InputError(f"data.fold must be 0 to {_FOLDS - 1}, got {fold}")
    if len(names) < _FOLDS:
        raise InputError(f"data.fold: {_FOLDS} folds need {_FOLDS} cases at least, there are {len(names)}")
    order = np.random.default_rng(0).permutation(len(names))
    ordered = sorted(names)
    return [ordered[at] for at in sorted(order[fold::_FOLDS])]


def synapse_cases(root: Path) -> dict[str, Case]:
    """Cases of the raw Synapse (BTCV) layout by number: ``img/img0001.nii.gz`` and ``label/label0001.nii.gz``.

    ``root`` may be the folder that holds ``img`` and ``label``, or one above it (``RawData/Training``).
    """
    for folder in (root, root / "Training", root / "RawData" / "Training"):
        if (folder / "img").is_dir() and (folder / "label").is_dir():
            break
    else:
        raise InputError(f"{root}: expected the folders img and label here or in RawData/Training")
    images, labels = (_numbered(folder / kind, kind) for kind in ("img", "label"))
    lonely = sorted(set(images) ^ set(labels))
    if lonely:
        raise InputError(f"{folder}: image and label do not pair up for {', '.join(lonely)}")
    if not images:
        raise InputError(f"{folder / 'img'}: no files named img0001.nii.gz")
    return {name: Case(name, images[name], labels[name]) for name in images}


def case_key(path: Path) -> str:
    """What pairs a scan, its mask and its prediction: the name without endings and without img, label or case."""
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return re.sub(r"^(img|label|case)_?(?=\d)", "", name)


def _numbered(folder: Path, prefix: str) -> dict[str, Path]:
    pattern = re.compile(rf"^{prefix}(\d+)\.nii(\.gz)?$")
    return {match[1]: path for path in sorted(folder.iterdir()) if (match := pattern.match(path.name))}


def _listed(entries: Iterable[Mapping[str, Any]]) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for entry in entries:
        missing = {"name", "image", "label"} - set(entry)
        if missing:
            raise InputError(
                f"data.cases: each case needs name, image and label; {dict(entry)} lacks {sorted(missing)}"
            )
        case = Case(str(entry["name"]), Path(str(entry["image"])), Path(str(entry["label"])))
        for path in (case.image, case.label):
            if not path.exists():
                raise InputError(f"data.cases: {case.name}: no such file {path}")
        cases[case.name] = case
    return cases


def _pick(cases: Mapping[str, Case], names: Sequence[Any], part: str) -> tuple[Case, ...]:
    unknown = [str(name) for name in names if str(name) not in cases]
    if unknown:
        raise InputError(
            f"data.split.{part}: no such cases: {', '.join(unknown)}; there is {', '.join(cases) or 'none'}"
        )
    return tuple(cases[str(name)] for name in names)
