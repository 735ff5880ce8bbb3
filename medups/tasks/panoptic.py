"""Panoptic segmentation of pictures: a class for every pixel, and the single objects of some classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medups.data.labels import LabelSet
from medups.data.pictures.objects import Segments
from medups.metrics.panoptic import SegmentCounts, segment_counts, total_counts
from medups.tasks.detection import PicturesWithObjects


@dataclass(frozen=True)
class PanopticTask(PicturesWithObjects):
    """Samples have ``semantic`` uint8 [H, W] too; scores are the panoptic quality by class."""

    labels: LabelSet
    name: ClassVar[str] = "panoptic"
    measure: ClassVar[str] = "PQ"

    def target_of(self, masks: Tensor, classes: Tensor) -> dict[str, Tensor]:
        return {**super().target_of(masks[1:], classes), "semantic": masks[0]}

    def score(self, prediction: Segments, reference: Segments) -> Mapping[int, SegmentCounts]:
        return segment_counts(prediction, reference)

    def summarize(self, scores: Sequence[Mapping[int, SegmentCounts]]) -> dict[str, float]:
        """Over all segments of the set, as the literature reports it."""
        return {
            self.labels.organs[number]: counts.pq
            for number, counts in sorted(total_counts(scores).items())
            if counts.pq is not None
        }
