"""Pair predictions with labels, bring both to organ names, score them, and take means that say their n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.canonical import Grid
from medups.data.labels import LabelSet
from medups.data.nifti import Volume
from medups.data.readers import on_grid_of, read_labels, read_scan, scans_by_key
from medups.errors import InputError
from medups.metrics import OrganScore, evaluate_case, hd95_unit
from medups.metrics.case import Protocol


@dataclass(frozen=True)
class Pair:
    """The files of one case; the image is for pictures only."""

    name: str
    pred: Path
    label: Path
    image: Path | None = None


@dataclass(frozen=True)
class CaseResult:
    """Scores of one case and the canonical volumes they were taken from."""

    name: str
    scores: dict[str, OrganScore]
    pred: NDArray[np.uint8]
    label: NDArray[np.uint8]
    image: NDArray[np.float32] | None
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Evaluation:
    """All scores: case name to organ to score."""

    protocol: Protocol
    organs: list[str]
    cases: dict[str, dict[str, OrganScore]]

    def summary(self) -> dict[str, Any]:
        """Means over cases, then over organs; every mean of an organ carries its n."""
        organs = {organ: self._organ([scores[organ] for scores in self.cases.values()]) for organ in self.organs}
        return {
            "protocol": self.protocol,
            "n_cases": len(self.cases),
            "cases": list(self.cases),
            "hd95_unit": hd95_unit(self.protocol),
            "mean": {measure: _mean([organs[organ][measure] for organ in organs]) for measure in ("dice", "hd95")},
            "organs": organs,
        }

    @staticmethod
    def _organ(scores: Sequence[OrganScore]) -> dict[str, Any]:
        hallucinated = [score for score in scores if score.status == "hallucinated"]
        return {
            "dice": _mean([score.dice for score in scores]),
            "hd95": _mean([score.hd95 for score in scores]),
            "n": sum(score.dice is not None for score in scores),
            "n_hd95": sum(score.hd95 is not None for score in scores),
            "n_missed": sum(score.status == "missed" for score in scores),
            "n_hallucinated": len(hallucinated),
            "hallucinated_ml": _sum([score.volume_ml for score in hallucinated]),
            "n_absent": sum(score.status == "absent" for score in scores),
        }


def find_pairs(pred: Path, label: Path, image: Path | None = None) -> tuple[list[Pair], list[str]]:
    """Pair the masks of two files or folders by name; also the labels that no prediction is for.

    Raises:
        InputError: a prediction without a label, or names that stand for one case twice.
    """
    preds, labels = scans_by_key(pred), scans_by_key(label)
    images = scans_by_key(image) if image is not None else {}
    if pred.is_file() and label.is_file():
        name = next(iter(preds))
        own = images if len(images) == 1 else {key: path for key, path in images.items() if key == name}
        if image is not None and not own:
            raise InputError(f"{image}: no image for {pred}; there is {', '.join(images)}")
        return [Pair(name, pred, label, next(iter(own.values()), None))], []
    lonely = [str(path) for key, path in preds.items() if key not in labels]
    if lonely:
        raise InputError(f"{label}: no label for {', '.join(lonely)}; names must agree but for img, label or case")
    missing = [str(preds[key]) for key in preds if images and key not in images]
    if missing:
        raise InputError(f"{image}: no image for {', '.join(missing)}")
    pairs = [Pair(key, path, labels[key], images.get(key)) for key, path in preds.items()]
    return pairs, [key for key in labels if key not in preds]


def evaluate(
    pairs: Sequence[Pair],
    pred_labels: Callable[[Path], LabelSet],
    label_labels: Callable[[Path], LabelSet],
    organs: Sequence[str],
    protocol: Protocol,
    each: Callable[[CaseResult], None],
) -> Evaluation:
    """Score every pair; ``each`` is called with every case's result as soon as it is there.

    Args:
        pred_labels, label_labels: the label set of a file.
        organs: names to compare; both sets must have them.

    Raises:
        InputError: what the readers raise, or an organ that a set lacks.
    """
    target = LabelSet("compared", dict(enumerate(organs, start=1)))
    cases = {}
    for pair in pairs:
        sets = pred_labels(pair.pred), label_labels(pair.label)
        for labels in sets:
            for organ in organs:
                labels.id_of(organ)
        label = read_labels(pair.label, sets[1])
        if protocol == "physical":
            label.require_spacing("the physical protocol")
        pred = on_grid_of(read_labels(pair.pred, sets[0]), label)
        image = _image(pair.image, label)
        grid = Grid(label.data.shape, label.affine)
        masks = [
            grid.to_canonical(labels.convert(volume.data, target))
            for labels, volume in zip(sets, (pred, label), strict=True)
        ]
        ids = {organ: number for number, organ in target.organs.items()}
        spacing = grid.spacing if label.has_spacing else None
        scores = evaluate_case(masks[0], masks[1], ids, spacing, protocol)
        cases[pair.name] = scores
        each(CaseResult(pair.name, scores, masks[0], masks[1], image, grid.spacing))
    return Evaluation(protocol, list(organs), cases)


def _image(path: Path | None, label: Volume) -> NDArray[np.float32] | None:
    if path is None:
        return None
    scan = read_scan(path)
    aligned = on_grid_of(scan, label)
    return Grid(aligned.data.shape, aligned.affine).to_canonical(aligned.data)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 3) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
