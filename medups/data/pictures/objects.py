"""Objects and segments of a picture: what detectors predict, and what annotations say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Objects:
    """Objects of one picture, in no particular order, or with the best score first.

    Args:
        ids: class id of each object [N].
        boxes: left, top, right and bottom in pixels [N, 4]; the right and bottom are outside.
        masks: [N, H, W], or None if only boxes are known.
        crowd: regions of many objects [N], where predictions count neither as right nor as wrong.
        scores: confidence [N], or None for annotations.
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    masks: NDArray[np.bool_] | None
    crowd: NDArray[np.bool_]
    scores: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Segments:
    """A class and an object for every pixel of one picture.

    Args:
        numbers: segment of each pixel [H, W]; 0 is no segment.
        ids: class id of each segment, by its number.
        crowd: numbers of segments that show many objects.
        scores: confidence of segments that are objects; empty for annotations.
    """

    numbers: NDArray[np.int32]
    ids: dict[int, int]
    crowd: frozenset[int] = frozenset()
    scores: dict[int, float] | None = None


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a mask that is not empty; the right and bottom are outside."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
