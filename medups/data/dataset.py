"""Which cases train, validate and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medups.data.cases import PARTS, Case, Listing
from medups.data.labels import LabelSet, label_set
from medups.data.layouts import LAYOUTS
from medups.errors import InputError

_FOLDS = 5


@dataclass(frozen=True)
class Dataset:
    """Three lists of cases that share none, and the label set of their masks."""

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]
    labels: LabelSet

    @property
    def names(self) -> dict[str, list[str]]:
        """Names of the cases by part."""
        return {part: [case.name for case in getattr(self, part)] for part in PARTS}

    def require_organs(self, target: LabelSet) -> None:
        """Raise InputError where the masks cannot have an organ of ``target``."""
        missing = [organ for organ in target.names if organ not in self.labels.names]
        if missing:
            raise InputError(
                f"the dataset's labels ({', '.join(self.labels.names)}) lack {', '.join(missing)} of label_set="
                f"{target.name}; give another label_set, or the names of the dataset's ids with data.source_labels"
            )


def open_dataset(config: Mapping[str, Any], problems: list[str] | None = None) -> Dataset:
    """The cases of a ``data`` configuration, split as it says.

    ``layout`` names how the files lie under ``root``. A part of ``split`` that is null is what the dataset's own
    files say, and where they say nothing, ``train`` is every labelled case of no other part. Validation cases may be
    listed under ``train`` too; they are not trained on. ``fold`` takes its fifth of both for validation instead.

    Args:
        problems: gets what is wrong with files and split, and what is right is returned; without it that is an error.

    Raises:
        InputError: missing files, a split that names unknown or unlabelled cases, a case in two parts of the split, or
            no label set.
    """
    if config["layout"] not in LAYOUTS:
        raise InputError(f"data.layout must be one of {', '.join(LAYOUTS)}, got {config['layout']!r}")
    listing = LAYOUTS[config["layout"]](config)
    found = list(listing.problems)
    split = _split(listing, config["split"], found)
    if config.get("fold") is not None:
        pool = {case.name: case for part in ("train", "val") for case in split[part]}
        split["val"] = [pool[name] for name in fold_of(list(pool), config["fold"])]
        split["train"] = list(pool.values())
    shared = {case.name for case in split["test"]} & {case.name for part in ("train", "val") for case in split[part]}
    if shared:
        found.append(f"data.split: {', '.join(sorted(shared))} would be trained on and tested on")
    held_out = {case.name for case in split["val"]}
    train = [case for case in split["train"] if case.name not in held_out]
    if not train:
        found.append("data.split.train: no cases left to train on")
    unlabelled = [case.name for case in (*train, *split["val"]) if case.label is None]
    if unlabelled:
        found.append(f"data.split: {', '.join(unlabelled)} would be trained on and have no mask")
    if problems is not None:
        problems += found
    elif found:
        raise InputError("; ".join(found))
    return Dataset(tuple(train), tuple(split["val"]), tuple(split["test"]), _labels(config, listing))


def fold_of(names: Sequence[str], fold: int) -> list[str]:
    """The cases that validate in ``fold`` of five: every case does in one, by a shuffle that is always the same.

    Raises:
        InputError: a fold beyond 0 to 4, or fewer than five cases.
    """
    if fold not in range(_FOLDS):
        raise InputError(f"fold must be 0 to {_FOLDS - 1}, got {fold!r}")
    if len(names) < _FOLDS:
        raise InputError(f"fold: {_FOLDS} folds need {_FOLDS} cases at least, there are {len(names)}")
    order = np.random.default_rng(0).permutation(len(names))
    ordered = sorted(names)
    return [ordered[at] for at in sorted(order[fold::_FOLDS])]


def _split(listing: Listing, asked: Mapping[str, Any], problems: list[str]) -> dict[str, list[Case]]:
    named = {part: asked[part] if asked[part] is not None else listing.split.get(part) for part in PARTS}
    split = {part: _pick(listing.cases, names or [], part, problems) for part, names in named.items()}
    if asked["train"] is None:
        others = {case.name for part in ("val", "test") for case in split[part]}
        labelled = [case for case in listing.cases.values() if case.label]
        pool = labelled if named["train"] is None else split["train"]
        split["train"] = [case for case in pool if case.name not in others]
    return split


def _pick(cases: Mapping[str, Case], names: Sequence[Any], part: str, problems: list[str]) -> list[Case]:
    unknown = [str(name) for name in names if str(name) not in cases]
    if unknown:
        problems.append(
            f"data.split.{part}: no such cases: {', '.join(unknown)}; there is {', '.join(cases) or 'none'}"
        )
    return [cases[str(name)] for name in names if str(name) in cases]


def _labels(config: Mapping[str, Any], listing: Listing) -> LabelSet:
    if config["source_labels"] is not None:
        return label_set(str(config["source_labels"]))
    if listing.labels is None:
        raise InputError("data.source_labels: say which label set the masks were made with, a shipped one or a file")
    return listing.labels
