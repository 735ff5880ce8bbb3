"""Overlap of two masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """Voxels of two masks and of their intersection. Ratios are 0 to 1; None if their denominator is 0."""

    pred: int
    label: int
    shared: int

    @classmethod
    def of(cls, pred: Mask, label: Mask) -> Overlap:
        """Count the voxels of two masks of the same shape."""
        return cls(*(int(np.count_nonzero(mask)) for mask in (pred, label, pred & label)))

    @property
    def dice(self) -> float | None:
        """Twice the shared voxels over the sum of both masks."""
        return _ratio(2 * self.shared, self.pred + self.label)

    @property
    def iou(self) -> float | None:
        """The shared voxels over those of either mask, the Jaccard index."""
        return _ratio(self.shared, self.pred + self.label - self.shared)

    @property
    def precision(self) -> float | None:
        """The share of the prediction that is in the label."""
        return _ratio(self.shared, self.pred)

    @property
    def recall(self) -> float | None:
        """The share of the label that is in the prediction, the sensitivity."""
        return _ratio(self.shared, self.label)


def dice(pred: Mask, label: Mask) -> float | None:
    """Twice the shared voxels over the sum of both, 0 to 1; None if both masks are empty."""
    return Overlap.of(pred, label).dice


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
