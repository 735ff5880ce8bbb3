"""One orientation for all scans, and the way back to each scan's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel import orientations
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

# Axes run towards head, back and the patient's left: [slice, row, column] as a radiologist sees a slice.
ORIENTATION = "SPL"


@dataclass(frozen=True)
class Grid:
    """How a file's axes become the canonical ones, with the way back."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    orientation: str = ORIENTATION

    @property
    def _change(self) -> NDArray[np.float64]:
        own = orientations.io_orientation(self.affine)
        return orientations.ornt_transform(own, orientations.axcodes2ornt(tuple(self.orientation)))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along the canonical axes."""
        turned = self.affine @ orientations.inv_ornt_aff(self._change, self.shape)
        first, second, third = np.linalg.norm(turned[:3, :3], axis=0).tolist()
        return first, second, third

    def to_canonical(self, data: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(orientations.apply_orientation(data, self._change))

    def to_file(self, data: NDArray[Any]) -> NDArray[Any]:
        """The inverse of :meth:`to_canonical`."""
        back = orientations.ornt_transform(
            orientations.axcodes2ornt(tuple(self.orientation)), orientations.io_orientation(self.affine)
        )
        return np.ascontiguousarray(orientations.apply_orientation(data, back))


def same_grid(affine: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Do two affines put every corner of a volume within a tenth of a voxel of each other?"""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    apart = np.abs((affine - other) @ corners)[:3].max()
    return bool(apart <= 0.1 * voxel_sizes(affine).min())
