"""Pair predictions with labels, and find the organs that both name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medups.data.labels import LabelSet, label_set, organ_names
from medups.data.volumes.find import scans_by_key
from medups.data.volumes.masks import labels_file
from medups.errors import InputError


@dataclass(frozen=True)
class Pair:
    """The files of one case; the image and the masks of other models, by name, are for pictures only."""

    name: str
    pred: Path
    label: Path
    image: Path | None = None
    others: Mapping[str, Path] = field(default_factory=dict)


def find_pairs(pred: Path, label: Path, image: Path | None = None) -> tuple[list[Pair], list[str]]:
    """Pairs of masks from two files or folders, matched by name; and the labels without a prediction.

    Raises:
        InputError: a prediction without a label or image, or two files of one case.
    """
    preds, labels = scans_by_key(pred), scans_by_key(label)
    images = scans_by_key(image) if image is not None else {}
    if pred.is_file() and label.is_file():
        name = next(iter(preds))
        matching = images if len(images) == 1 else {key: path for key, path in images.items() if key == name}
        if image is not None and not matching:
            raise InputError(f"{image}: no image for {pred}; the folder has {', '.join(images)}")
        return [Pair(name, pred, label, next(iter(matching.values()), None))], []
    unpaired = [str(path) for key, path in preds.items() if key not in labels]
    if unpaired:
        raise InputError(
            f"{label}: no label for {', '.join(unpaired)}; names must match except for the prefixes img, label and case"
        )
    missing = [str(preds[key]) for key in preds if images and key not in images]
    if missing:
        raise InputError(f"{image}: no image for {', '.join(missing)}")
    pairs = [Pair(key, path, labels[key], images.get(key)) for key, path in preds.items()]
    return pairs, [key for key in labels if key not in preds]


def beside(pairs: Sequence[Pair], others: Mapping[str, Path]) -> list[Pair]:
    """The pairs with the masks of other models, files or folders by the model's name.

    Raises:
        InputError: a model without a mask for one of the cases.
    """
    by_model = {name: scans_by_key(path) for name, path in others.items()}
    for name, masks in by_model.items():
        if len(pairs) == len(masks) == 1:
            by_model[name] = {pairs[0].name: next(iter(masks.values()))}
        elif missing := [pair.name for pair in pairs if pair.name not in masks]:
            raise InputError(f"{others[name]}: no mask for {', '.join(missing)}")
    return [replace(pair, others={name: masks[pair.name] for name, masks in by_model.items()}) for pair in pairs]


def label_set_reader(name: str | None, option: str) -> Callable[[Path], LabelSet]:
    """Return a function from a mask to its label set: ``name`` for all, or the table beside each mask.

    Args:
        option: the name of the setting, for the error if there is no table.
    """
    if name is not None:
        labels = label_set(name)
        return lambda _: labels

    def read(mask: Path) -> LabelSet:
        table = labels_file(mask)
        if not table.is_file():
            raise InputError(f"{mask}: no {table.name} beside it; pass its label set with {option}")
        return label_set(str(table))

    return read


def shared_organs(
    pairs: Sequence[Pair],
    pred_labels: Callable[[Path], LabelSet],
    label_labels: Callable[[Path], LabelSet],
    chosen: str | None,
) -> tuple[list[str], list[str]]:
    """The organs to compare, and other named organs.

    Args:
        chosen: a label set, or comma-separated names; None for all organs that both sides name.

    Raises:
        InputError: masks of one folder that name different organs unless some are ``chosen``, an unknown organ, or no
            organ on both sides.
    """
    predicted = _organs([(pair.pred, pred_labels(pair.pred)) for pair in pairs], chosen)
    labeled = _organs([(pair.label, label_labels(pair.label)) for pair in pairs], chosen)
    known = list(dict.fromkeys([*predicted, *labeled]))
    organs = organ_names(chosen, known) if chosen else [name for name in predicted if name in labeled]
    if not organs:
        raise InputError(
            f"{pairs[0].pred} and {pairs[0].label}: no organ is in both label sets, {', '.join(predicted)} against "
            f"{', '.join(labeled)}; pass their label sets with --pred-labels and --label-labels"
        )
    return organs, [name for name in known if name not in organs]


def _organs(masks: Sequence[tuple[Path, LabelSet]], chosen: str | None) -> list[str]:
    """The organs of all masks, which must name the same ones unless some were ``chosen``."""
    first_mask, first = masks[0]
    for mask, labels in masks:
        if set(labels.names) != set(first.names) and not chosen:
            differing = ", ".join(sorted(set(labels.names) ^ set(first.names)))
            raise InputError(
                f"{mask}: its organs differ from those of {first_mask}: {differing}; choose organs with --organs"
            )
    return list(dict.fromkeys(name for _, labels in masks for name in labels.names))
