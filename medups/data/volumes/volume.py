"""A scan or mask in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medups.errors import InputError

if TYPE_CHECKING:
    from medups.data.volumes.dicom import DicomSeries
    from medups.data.volumes.nifti import NiftiPlacement

CT_WINDOW = (-125.0, 275.0)
"""Hounsfield units that pictures of the abdomen show as black and as white."""
RIGHT_ANGLE = 0.05
"""Degrees by which axes may differ from right angles, as those of rounded headers do, and count as right-angled."""
MAX_VOXELS = 2**31
"""A whole body at half a millimeter; 8 GiB of intensities."""
_SMALLEST_VOXEL = 1e-9  # cubic millimeters


@dataclass(frozen=True)
class Volume:
    """Voxels [i, j, k] and the affine from voxel indices to RAS+ millimeters.

    Args:
        has_spacing: False if the file stores only directions; the lengths of the affine's columns are then meaningless.
        modality: DICOM's code, such as CT or MR; None if the file does not say.
        header: what the file says about its grid and origin, for masks that must agree with it in every viewer.
        warnings: what a person should know about the file, each a sentence without the file's name.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    source: str
    has_spacing: bool = True
    modality: str | None = None
    header: NiftiPlacement | DicomSeries | None = None
    warnings: tuple[str, ...] = ()

    def require_spacing(self, purpose: str) -> None:
        """Raise InputError if the spacing in millimeters is unknown."""
        if not self.has_spacing:
            raise InputError(f"{self.source}: the file stores no spacing in millimeters, which {purpose} needs")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimeters between voxels along i, j and k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k


def shear_degrees(affine: NDArray[np.float64]) -> float:
    """The largest difference from a right angle between two axes of a grid, in degrees."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(cosines.clip(0, 1))).max())


def without_trailing_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without axes of size 1 after the third, which some converters write."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def places_voxels(affine: NDArray[np.float64]) -> bool:
    """Whether an affine is finite and invertible, so that every voxel has its own place."""
    return bool(np.isfinite(affine).all()) and abs(np.linalg.det(affine[:3, :3])) >= _SMALLEST_VOXEL


def voxel_ml(affine: NDArray[np.float64]) -> float:
    """The volume of a voxel in milliliters."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000
