"""Counts of pixels by class, from which the scores of semantic segmentation of pictures follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Counts = NDArray[np.int64]
_BAND = 0.02  # of the diagonal, as in the boundary IoU's paper


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of each class [K]: in both masks, in the prediction, and in the reference.

    The counts of several pictures add up to those of the whole set.
    """

    both: Counts
    predicted: Counts
    reference: Counts

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(self.both + other.both, self.predicted + other.predicted, self.reference + other.reference)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union [K], NaN for classes in neither mask."""
        return _ratio(self.both, self.predicted + self.reference - self.both)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice [K], NaN for classes in neither mask."""
        return _ratio(2 * self.both, self.predicted + self.reference)

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share of the reference that was found [K], the class accuracy; NaN for classes without reference."""
        return _ratio(self.both, self.reference)

    @property
    def accuracy(self) -> float | None:
        """The share of pixels with the right class; None without any pixel."""
        total = int(self.reference.sum())
        return int(self.both.sum()) / total if total else None


def pixel_counts(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int, ignored: int
) -> PixelCounts:
    """Counts of two masks [H, W] of classes 0 to ``classes`` - 1; pixels that the reference ignores do not count."""
    known = reference != ignored
    pairs = np.bincount(
        prediction[known].astype(np.int64) * classes + reference[known], minlength=classes * classes
    ).reshape(classes, classes)
    return PixelCounts(pairs.diagonal().copy(), pairs.sum(1), pairs.sum(0))


def boundary_counts(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int, ignored: int
) -> PixelCounts:
    """Counts of the pixels of each class near its border, for the boundary IoU (arXiv 2103.16562).

    A pixel is near the border if another class, or the picture's end, is at most 2 % of the diagonal away along both
    axes, at least one pixel, as in the authors' code. Ignored pixels do not count, and make no border.
    """
    width = max(1, round(_BAND * float(np.hypot(*reference.shape))))
    known = reference != ignored
    predicted = np.where(known, prediction, ignored)
    total = PixelCounts(*(np.zeros(classes, dtype=np.int64) for _ in range(3)))
    for number in np.union1d(np.unique(predicted), np.unique(reference)).tolist():
        if number == ignored:
            continue
        near, near_reference = (
            (mask == number) & ~_inner((mask == number) | ~known, width) for mask in (predicted, reference)
        )
        total.both[number] = (near & near_reference).sum()
        total.predicted[number], total.reference[number] = near.sum(), near_reference.sum()
    return total


def _inner(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The pixels at least ``width`` + 1 away from the outside along both axes."""
    inner: NDArray[np.bool_] = ndimage.minimum_filter(mask, 2 * width + 1, mode="constant", cval=False)
    return inner


def _ratio(part: Counts, whole: Counts) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
