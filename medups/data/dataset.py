"""The split of a dataset into training, validation and test cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medups.data.cases import PARTS, Case, DataSpec, Listing, SplitSpec
from medups.data.formats import FORMATS
from medups.data.labels import LabelSet, label_set
from medups.errors import InputError

_FOLDS = 5


@dataclass(frozen=True)
class Dataset:
    """Three disjoint lists of cases, the label set of their masks, and notes for the user."""

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]
    labels: LabelSet
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, list[str]]:
        """Names of the cases by part."""
        return {part: [case.name for case in getattr(self, part)] for part in PARTS}

    def require_organs(self, target: LabelSet) -> None:
        """Raise InputError if the label set of the masks lacks an organ of ``target``."""
        missing = [organ for organ in target.names if organ not in self.labels.names]
        if missing:
            raise InputError(
                f"the dataset's labels ({', '.join(self.labels.names)}) lack {', '.join(missing)} of label_set="
                f"{target.name}; choose another label_set, or describe the dataset's ids with data.source_labels"
            )


def open_dataset(data: DataSpec, problems: list[str] | None = None) -> Dataset:
    """Open a dataset and split its cases as configured.

    If a part of ``data.split`` is None, the dataset's own files define it. If they do not, ``train`` is every labeled
    case that is in no other part. Validation cases may be listed under ``train`` too; they are not trained
    on. With ``data.fold``, that fold of both parts is used for validation: a fold that the dataset defines, or one of
    five.

    Args:
        problems: receives the problems with files and split, while the rest is returned; None raises them instead.

    Raises:
        InputError: missing files, a split that names unknown or unlabeled cases, a case in two parts, or no label
            set.
    """
    if data.format not in FORMATS:
        raise InputError(f"data.format must be one of {', '.join(FORMATS)}, got {data.format!r}")
    listing = FORMATS[data.format](data)
    errors = list(listing.problems)
    split = _split(listing, data.split, errors)
    if data.fold is not None:
        pool = {case.name: case for part in ("train", "val") for case in split[part]}
        split["val"] = [pool[name] for name in _fold(list(pool), data.fold, listing.folds)]
        split["train"] = list(pool.values())
    shared = {case.name for case in split["test"]} & {case.name for part in ("train", "val") for case in split[part]}
    if shared:
        errors.append(f"data.split: {', '.join(sorted(shared))} would be both trained on and tested on")
    held_out = {case.name for case in split["val"]}
    train = [case for case in split["train"] if case.name not in held_out]
    if not train:
        errors.append("data.split.train: no cases left to train on")
    unlabeled = [case.name for case in (*train, *split["val"]) if case.label is None]
    if unlabeled:
        errors.append(f"data.split: {', '.join(unlabeled)} would be trained on but have no mask")
    if problems is not None:
        problems += errors
    elif errors:
        raise InputError("; ".join(errors))
    notes = list(listing.notes)
    if listing.folds and data.fold is None:
        notes.append("the dataset assigns folds to its cases; fold=0, 1, ... validates on one of them")
    return Dataset(tuple(train), tuple(split["val"]), tuple(split["test"]), _labels(data, listing), tuple(notes))


def fold_of(names: Sequence[str], fold: int) -> list[str]:
    """The cases that validate in ``fold`` of five. A fixed shuffle puts every case into exactly one fold.

    Raises:
        InputError: a fold outside 0 to 4, or fewer than five cases.
    """
    if fold not in range(_FOLDS):
        raise InputError(f"fold must be 0 to {_FOLDS - 1}, got {fold!r}")
    if len(names) < _FOLDS:
        raise InputError(f"fold: {_FOLDS} folds need at least {_FOLDS} cases, found {len(names)}")
    order = np.random.default_rng(0).permutation(len(names))
    by_name = sorted(names)
    return [by_name[index] for index in sorted(order[fold::_FOLDS])]


def _fold(names: Sequence[str], fold: int, listed: Mapping[str, int]) -> list[str]:
    """The fold that the dataset's own files assign, or :func:`fold_of`."""
    if not listed:
        return fold_of(names, fold)
    chosen = [name for name in names if listed.get(name) == fold]
    if not chosen:
        known = ", ".join(map(str, sorted(set(listed.values()))))
        raise InputError(f"fold={fold}: the dataset assigns no case to it; its folds are {known}")
    return chosen


def _split(listing: Listing, wanted: SplitSpec, problems: list[str]) -> dict[str, list[Case]]:
    chosen: dict[str, Sequence[Any] | None] = {part: getattr(wanted, part) for part in PARTS}
    names = {part: listing.split.get(part) if chosen[part] is None else chosen[part] for part in PARTS}
    split = {part: _pick(listing.cases, names[part] or [], part, problems) for part in PARTS}
    if chosen["train"] is None:
        taken = {case.name for part in ("val", "test") for case in split[part]}
        labeled = [case for case in listing.cases.values() if case.label]
        pool = labeled if names["train"] is None else split["train"]
        split["train"] = [case for case in pool if case.name not in taken]
    return split


def _pick(cases: Mapping[str, Case], names: Sequence[Any], part: str, problems: list[str]) -> list[Case]:
    unknown = [str(name) for name in names if str(name) not in cases]
    if unknown:
        problems.append(
            f"data.split.{part}: no such cases: {', '.join(unknown)}; the dataset has {', '.join(cases) or 'none'}"
        )
    return [cases[str(name)] for name in names if str(name) in cases]


def _labels(data: DataSpec, listing: Listing) -> LabelSet:
    if data.source_labels is not None:
        return label_set(str(data.source_labels))
    if listing.labels is None:
        raise InputError("data.source_labels: name the label set of the masks, a shipped one or a file")
    return listing.labels
