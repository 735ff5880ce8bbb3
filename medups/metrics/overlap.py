"""Overlap of two masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def dice(pred: Mask, label: Mask) -> float | None:
    """Twice the shared voxels over the sum of both, 0 to 1; None if both masks are empty."""
    total = int(np.count_nonzero(pred)) + int(np.count_nonzero(label))
    return 2 * int(np.count_nonzero(pred & label)) / total if total else None
