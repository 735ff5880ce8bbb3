"""Panoptic quality over a set, and in each picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medups.data.labels import LabelSet
from medups.data.pictures.coco import CocoFile, read_segments
from medups.data.pictures.objects import Segments
from medups.metrics.panoptic import SegmentCounts, segment_counts, total_counts

_MEASURES = ("pq", "sq", "rq")


@dataclass(frozen=True)
class SegmentScores:
    """One picture: counts by class id."""

    counts: Mapping[int, SegmentCounts]

    @property
    def quality(self) -> float | None:
        """Mean panoptic quality of the classes in the picture; None without any."""
        return _mean([counts.pq for counts in self.counts.values()])


@dataclass
class PanopticEvaluation:
    """The scores of a set by picture name."""

    labels: LabelSet
    scores: dict[str, SegmentScores] = field(default_factory=dict)
    protocol: ClassVar[str] = "panoptic"
    quality: ClassVar[str] = "panoptic quality"

    def score(
        self, predicted: CocoFile, reference: CocoFile, name: str, image: Path | None
    ) -> tuple[SegmentScores, Segments, Segments]:
        """Scores of one picture, and what they were computed from. Raises InputError; see :func:`read_segments`."""
        _, pred = read_segments(predicted, name, None)
        _, label = read_segments(reference, name, image)
        return SegmentScores(segment_counts(pred, label)), pred, label

    def summary(self) -> dict[str, Any]:
        """Quality of each class over all segments of the set; means over all classes, over things and over stuff."""
        total = total_counts(scores.counts for scores in self.scores.values())
        organs: dict[str, dict[str, float | int | None]] = {}
        for number, name in self.labels.organs.items():
            counts = total.get(number, SegmentCounts())
            organs[name] = {**_values(counts), "n": counts.matched + counts.reference}
        names = {
            "mean": list(organs),
            "things": [self.labels.organs[number] for number in self.labels.things],
            "stuff": [self.labels.organs[number] for number in self.labels.stuff_ids],
        }
        means = {
            key: {measure: _mean([organs[name][measure] for name in chosen]) for measure in _MEASURES}
            for key, chosen in names.items()
        }
        return {
            "protocol": self.protocol,
            "n_cases": len(self.scores),
            "cases": list(self.scores),
            "mean": means["mean"],
            "overall": {key: means[key] for key in ("things", "stuff")},
            "organs": organs,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per picture and class: case, organ (the class), and its quality in that picture."""
        return [
            {"case": name, "organ": organ, **_values(scores.counts.get(number, SegmentCounts()))}
            for name, scores in self.scores.items()
            for number, organ in self.labels.organs.items()
        ]


def _values(counts: SegmentCounts) -> dict[str, float | None]:
    return {"pq": counts.pq, "sq": counts.sq, "rq": counts.rq}


def _mean(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
