"""Scores of class masks of pictures: over all pixels of a set, as the literature reports them, and by picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.parallel import in_parallel
from medups.data.pictures import IGNORED, read_mask, to_channels
from medups.errors import InputError
from medups.metrics.pixels import PixelCounts, boundary_counts, pixel_counts

PROTOCOL = "pixels"
MEASURES = ("iou", "boundary_iou", "dice", "recall")


@dataclass(frozen=True)
class PicturePair:
    """The masks of one picture, and the picture if there is one."""

    name: str
    pred: Path
    label: Path
    image: Path | None = None


@dataclass(frozen=True)
class PictureResult:
    """Counts of one picture, and the channels they were computed from."""

    pair: PicturePair
    counts: PixelCounts
    boundary: PixelCounts
    pred: NDArray[np.uint8]
    label: NDArray[np.uint8]


@dataclass(frozen=True)
class PictureEvaluation:
    """All counts by picture name, of all pixels and of those near borders."""

    labels: LabelSet
    counts: dict[str, PixelCounts] = field(default_factory=dict)
    boundary: dict[str, PixelCounts] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Scores of each class over all pixels of the set, and their means over classes, such as the mean IoU."""
        total = reduce(add, self.counts.values())
        values = _values(total, reduce(add, self.boundary.values()))
        organs = {
            name: {
                **{measure: _known(values[measure][channel]) for measure in MEASURES},
                "n": sum(int(counts.reference[channel]) > 0 for counts in self.counts.values()),
            }
            for channel, name in enumerate(self.labels.channels.values())
        }
        return {
            "protocol": PROTOCOL,
            "n_cases": len(self.counts),
            "cases": list(self.counts),
            "accuracy": total.accuracy,
            "mean": {measure: _mean([row[measure] for row in organs.values()]) for measure in MEASURES},
            "organs": organs,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per picture and class: case, organ (the class), and every measure of that picture alone."""
        rows = []
        for case, counts in self.counts.items():
            values = _values(counts, self.boundary[case])
            for channel, name in enumerate(self.labels.channels.values()):
                own = {measure: _known(values[measure][channel]) for measure in MEASURES}
                rows.append({"case": case, "organ": name, **own})
        return rows


def evaluate_pictures(
    pairs: Sequence[PicturePair], pred_labels: LabelSet, labels: LabelSet, on_case: Callable[[PictureResult], None]
) -> PictureEvaluation:
    """Count the pixels of every pair, a few at a time, and call ``on_case`` with each result in order.

    Args:
        pred_labels, labels: the label sets of both masks, with the same classes.

    Raises:
        InputError: a file that cannot be read, a mask of another size, or other classes.
    """
    if list(pred_labels.channels.values()) != list(labels.channels.values()):
        raise InputError(
            f"the predictions have the classes of {pred_labels.name} ({', '.join(pred_labels.channels.values())}), the "
            f"labels those of {labels.name} ({', '.join(labels.channels.values())}); name the sets with --pred-labels "
            "and --label-labels"
        )
    classes = len(labels.channels)

    def scored(pair: PicturePair) -> PictureResult:
        label = to_channels(read_mask(pair.label, labels), labels)
        pred = to_channels(read_mask(pair.pred, pred_labels, label.shape[:2]), pred_labels)
        if (without := (pred == IGNORED) & (label != IGNORED)).any():
            raise InputError(f"{pair.pred}: {int(without.sum())} pixels have no class, but the label's pixels have one")
        pred = np.where(label == IGNORED, 0, pred).astype(np.uint8)
        counts = [function(pred, label, classes, IGNORED) for function in (pixel_counts, boundary_counts)]
        return PictureResult(pair, counts[0], counts[1], pred, label)

    evaluation = PictureEvaluation(labels)
    for result in in_parallel(scored, pairs):
        evaluation.counts[result.pair.name] = result.counts
        evaluation.boundary[result.pair.name] = result.boundary
        on_case(result)
    return evaluation


def _values(counts: PixelCounts, boundary: PixelCounts) -> Mapping[str, NDArray[np.float64]]:
    return {"iou": counts.iou, "boundary_iou": boundary.iou, "dice": counts.dice, "recall": counts.recall}


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
