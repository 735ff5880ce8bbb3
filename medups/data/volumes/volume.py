"""A scan or mask in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.errors import InputError

CT_WINDOW = (-125.0, 275.0)
"""Hounsfield units that pictures of the abdomen show as black and as white."""


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
