"""Scores of detected objects: average precision over a set, and matches in each picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.pictures.coco import CocoFile, read_objects
from medups.data.pictures.coco_entries import objects_entries
from medups.data.pictures.objects import Objects
from medups.metrics.objects import ImageObjects, Matches, average_precision, kinds_of, matches

_CLEAR = 0.5  # predictions with a lower score do not enter the F1 score


@dataclass(frozen=True)
class ObjectScores:
    """One picture: its entries for the average precision, and its matches by class id."""

    entries: ImageObjects
    matches: Mapping[int, Matches]

    @property
    def quality(self) -> float | None:
        """F1 score of all classes together; None without any object."""
        return reduce(add, self.matches.values(), Matches(0, 0, 0)).f1


@dataclass
class ObjectEvaluation:
    """The scores of a set by picture name."""

    labels: LabelSet
    scores: dict[str, ObjectScores] = field(default_factory=dict)
    protocol: ClassVar[str] = "objects"
    quality: ClassVar[str] = "F1 score"

    def score(
        self, predicted: CocoFile, reference: CocoFile, name: str, image: Path | None
    ) -> tuple[ObjectScores, Objects, Objects]:
        """Scores of one picture, and what they were computed from. Raises InputError; see :func:`read_objects`."""
        _, pred = read_objects(predicted, name, None)
        _, label = read_objects(reference, name, image)
        about = reference.images[name]
        entries = ImageObjects(about["height"], about["width"], objects_entries(label, 0), objects_entries(pred, 0))
        return ObjectScores(entries, _matches(pred, label, self.labels)), pred, label

    def summary(self) -> dict[str, Any]:
        """Average precision of boxes and, if they are predicted, of masks and their borders; F1 scores."""
        images = [scores.entries for scores in self.scores.values()]
        by_kind = {kind: average_precision(images, list(self.labels.organs), kind) for kind in kinds_of(images)}
        organs: dict[str, dict[str, float | int | None]] = {}
        totals: list[float] = []
        for number, name in self.labels.organs.items():
            total = reduce(add, (scores.matches[number] for scores in self.scores.values()))
            totals += [] if total.f1 is None else [total.f1]
            aps = {f"{kind}_ap": result.classes[number] for kind, result in by_kind.items()}
            organs[name] = {**aps, "f1": total.f1, "n": total.reference}
        means = {f"{kind}_ap": result.overall["ap"] for kind, result in by_kind.items()}
        return {
            "protocol": self.protocol,
            "n_cases": len(self.scores),
            "cases": list(self.scores),
            "mean": {**means, "f1": float(np.mean(totals)) if totals else None},
            "overall": {kind: dict(result.overall) for kind, result in by_kind.items()},
            "organs": organs,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per picture and class: case, organ (the class), and its F1 score in that picture."""
        return [
            {"case": name, "organ": self.labels.organs[number], "f1": matched.f1, "n": matched.reference}
            for name, scores in self.scores.items()
            for number, matched in scores.matches.items()
        ]


def _matches(pred: Objects, label: Objects, labels: LabelSet) -> dict[int, Matches]:
    assert pred.scores is not None  # read from a file with them
    clear = pred.scores >= _CLEAR
    by_class = {}
    for number in labels.organs:
        chosen, references = np.flatnonzero(clear & (pred.ids == number)), np.flatnonzero(label.ids == number)
        overlaps = _overlaps(pred, chosen, label, references)
        by_class[number] = matches(overlaps, pred.scores[chosen], label.crowd[references])
    return by_class


def _overlaps(
    pred: Objects, chosen: NDArray[np.int64], label: Objects, references: NDArray[np.int64]
) -> NDArray[np.float64]:
    """IoU of masks, or of boxes if no masks were predicted [P, R]; with a crowd, the share of the prediction inside."""
    if pred.masks is not None and label.masks is not None:
        a, b = (
            masks.reshape(len(masks), math.prod(masks.shape[1:])).astype(np.float32)
            for masks in (pred.masks[chosen], label.masks[references])
        )
        both = (a @ b.T).astype(np.float64)
        areas, others = a.sum(1, dtype=np.float64), b.sum(1, dtype=np.float64)
    else:
        boxes, label_boxes = pred.boxes[chosen][:, None], label.boxes[references][None]
        sides = np.minimum(boxes[..., 2:], label_boxes[..., 2:]) - np.maximum(boxes[..., :2], label_boxes[..., :2])
        both = np.clip(sides, 0, None).prod(-1)
        areas, others = (
            np.clip(one[..., 2:] - one[..., :2], 0, None).prod(-1)
            for one in (pred.boxes[chosen], label.boxes[references])
        )
    whole = np.where(label.crowd[references], areas[:, None], areas[:, None] + others - both)
    return np.asarray(both / np.maximum(whole, 1e-9))
