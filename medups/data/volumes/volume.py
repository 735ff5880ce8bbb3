"""A scan or mask in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.errors import InputError

CT_WINDOW = (-125.0, 275.0)
"""Hounsfield units that pictures of the abdomen show as black and as white."""
_SMALLEST_VOXEL = 1e-9  # cubic millimeters


@dataclass(frozen=True)
class Volume:
    """Voxels [i, j, k] and the affine from voxel indices to RAS+ millimeters.

    has_spacing: False if the file stores only directions; the lengths of the affine's columns are then meaningless.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    source: str
    has_spacing: bool = True

    def require_spacing(self, purpose: str) -> None:
        """Raise InputError if the spacing in millimeters is unknown."""
        if not self.has_spacing:
            raise InputError(f"{self.source}: the file stores no spacing in millimeters, which {purpose} needs")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimeters between voxels along i, j and k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k


def without_trailing_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without axes of size 1 after the third, which some converters write."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def places_voxels(affine: NDArray[np.float64]) -> bool:
    """Whether an affine is finite and invertible, so that every voxel has its own place."""
    return bool(np.isfinite(affine).all()) and abs(np.linalg.det(affine[:3, :3])) >= _SMALLEST_VOXEL
