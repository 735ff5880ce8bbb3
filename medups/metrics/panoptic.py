"""Panoptic quality (arXiv 1801.00868)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medups.data.pictures.objects import Segments

_MATCH = 0.5


@dataclass(frozen=True)
class SegmentCounts:
    """Segments of one class; the counts of several pictures add up to those of the set.

    Args:
        iou: sum over the matched pairs.
        matched: pairs whose IoU is above 0.5.
        predicted, reference: segments without a partner.
    """

    iou: float = 0.0
    matched: int = 0
    predicted: int = 0
    reference: int = 0

    def __add__(self, other: SegmentCounts) -> SegmentCounts:
        return SegmentCounts(
            self.iou + other.iou,
            self.matched + other.matched,
            self.predicted + other.predicted,
            self.reference + other.reference,
        )

    @property
    def sq(self) -> float | None:
        """Segmentation quality: mean IoU of the matched pairs; None without any segment."""
        if not self._any:
            return None
        return self.iou / self.matched if self.matched else 0.0

    @property
    def rq(self) -> float | None:
        """Recognition quality, the F1 score of the segments; None without any segment."""
        return self.matched / (self.matched + (self.predicted + self.reference) / 2) if self._any else None

    @property
    def pq(self) -> float | None:
        """Panoptic quality, the product of both; None without any segment."""
        return None if self.sq is None or self.rq is None else self.sq * self.rq

    @property
    def _any(self) -> bool:
        return self.matched + self.predicted + self.reference > 0


def segment_counts(predicted: Segments, reference: Segments) -> dict[int, SegmentCounts]:
    """Counts by class id.

    As in the authors' code, pixels without a reference segment do not count, and a prediction that is mostly on such
    pixels, or on regions of many objects of its class, counts neither as right nor as wrong.
    """
    overlap = _overlaps(predicted.numbers, reference.numbers)
    areas, reference_areas = _areas(predicted.numbers), _areas(reference.numbers)
    counts: dict[int, SegmentCounts] = {}

    def add(category: int, values: SegmentCounts) -> None:
        counts[category] = counts.get(category, SegmentCounts()) + values

    matched: set[int] = set()
    matched_references: set[int] = set()
    for (segment, other), both in overlap.items():
        if not segment or not other or other in reference.crowd or predicted.ids[segment] != reference.ids[other]:
            continue
        union = areas[segment] + reference_areas[other] - both - overlap.get((segment, 0), 0)
        if both / union > _MATCH:
            add(reference.ids[other], SegmentCounts(iou=both / union, matched=1))
            matched.add(segment)
            matched_references.add(other)
    for other, category in reference.ids.items():
        if other not in matched_references and other not in reference.crowd:
            add(category, SegmentCounts(reference=1))
    for segment, category in predicted.ids.items():
        if segment in matched:
            continue
        crowds = [number for number in reference.crowd if reference.ids[number] == category]
        uncounted = overlap.get((segment, 0), 0) + sum(overlap.get((segment, number), 0) for number in crowds)
        if uncounted <= _MATCH * areas[segment]:
            add(category, SegmentCounts(predicted=1))
    return counts


def _areas(numbers: NDArray[np.int32]) -> dict[int, int]:
    values, areas = np.unique(numbers, return_counts=True)
    return dict(zip(values.tolist(), areas.tolist(), strict=True))


def _overlaps(predicted: NDArray[np.int32], reference: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """Pixels that each pair of segments shares."""
    pairs, counts = np.unique(predicted.astype(np.int64) << 32 | reference, return_counts=True)
    return {(int(pair >> 32), int(pair & 0xFFFFFFFF)): int(n) for pair, n in zip(pairs, counts, strict=True)}


def total_counts(pictures: Iterable[Mapping[int, SegmentCounts]]) -> dict[int, SegmentCounts]:
    """The counts of a set by class id."""
    total: dict[int, SegmentCounts] = {}
    for counts in pictures:
        for category, values in counts.items():
            total[category] = total.get(category, SegmentCounts()) + values
    return total
