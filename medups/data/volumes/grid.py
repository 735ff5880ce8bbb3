"""The canonical orientation of all scans, and the conversion back to each scan's own grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from nibabel import orientations
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from scipy import ndimage

from medups.data.volumes.volume import RIGHT_ANGLE, Volume, shear_degrees
from medups.errors import InputError

# Axes run toward the head, the back and the patient's left: [slice, row, column] as a radiologist sees a slice.
ORIENTATION = "SPL"
Steps = tuple[float, float, float] | NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Converts between a file's axes and the canonical ones."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    orientation: str = ORIENTATION

    @property
    def _to_canonical(self) -> NDArray[np.float64]:
        return orientations.ornt_transform(orientations.io_orientation(self.affine), self._canonical)

    @property
    def _canonical(self) -> NDArray[np.float64]:
        return orientations.axcodes2ornt(tuple(self.orientation))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimeters between voxels along the canonical axes."""
        canonical_affine = self.affine @ orientations.inv_ornt_aff(self._to_canonical, self.shape)
        first, second, third = np.linalg.norm(canonical_affine[:3, :3], axis=0).tolist()
        return first, second, third

    @property
    def steps_mm(self) -> Steps:
        """:attr:`spacing`, or the vectors between neighbors [3, axes] if the axes are not at right angles."""
        if shear_degrees(self.affine) <= RIGHT_ANGLE:
            return self.spacing
        return (self.affine @ orientations.inv_ornt_aff(self._to_canonical, self.shape))[:3, :3]

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """Voxels along the canonical axes."""
        by_axis = dict(zip(self._to_canonical[:, 0].astype(int).tolist(), self.shape, strict=True))
        return by_axis[0], by_axis[1], by_axis[2]

    def to_canonical(self, data: NDArray[Any]) -> NDArray[Any]:
        """``data`` with its axes in canonical order and direction."""
        return np.ascontiguousarray(orientations.apply_orientation(data, self._to_canonical))

    def to_file(self, data: NDArray[Any]) -> NDArray[Any]:
        """The inverse of :meth:`to_canonical`."""
        back = orientations.ornt_transform(self._canonical, orientations.io_orientation(self.affine))
        return np.ascontiguousarray(orientations.apply_orientation(data, back))


def farthest_apart(first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """The largest distance in mm, along one axis, between the corners that two affines give a volume."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.abs((first - second) @ corners)[:3].max())


def same_grid(first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Whether two affines place every corner of a volume within a tenth of a voxel of each other."""
    return farthest_apart(first, second, shape) <= 0.1 * voxel_sizes(first).min()


def on_grid_of(mask: Volume, image: Volume) -> Volume:
    """``mask`` with its axes in the order and direction of ``image``'s. No voxel is resampled.

    Raises:
        InputError: the voxels of the two do not coincide.
    """
    # relative to the image, so that two grids turned by 45 degrees agree whatever a rounding error favors
    change = orientations.io_orientation(np.linalg.inv(image.affine) @ mask.affine)
    data = orientations.apply_orientation(mask.data, change)
    affine = mask.affine @ orientations.inv_ornt_aff(change, mask.data.shape)
    if data.shape != image.data.shape:
        raise InputError(
            f"{mask.source}: shape {mask.data.shape} differs from {image.data.shape} of {image.source}; "
            "resample both to one grid"
        )
    if not same_grid(affine, image.affine, image.data.shape):
        raise InputError(
            f"{mask.source}: its affine places voxels elsewhere than {image.source}: found {_rows(mask.affine)}, "
            f"expected {_rows(image.affine)}; resample both to one grid"
        )
    return replace(mask, data=np.ascontiguousarray(data), affine=image.affine)


def resampled_to(mask: Volume, image: Volume) -> Volume:
    """``mask`` on the grid of ``image``: the value of the nearest voxel, 0 outside the mask's own grid."""
    if mask.data.shape == image.data.shape and same_grid(mask.affine, image.affine, image.data.shape):
        return mask
    change = np.linalg.inv(mask.affine) @ image.affine
    data = ndimage.affine_transform(
        mask.data, change[:3, :3], change[:3, 3], image.data.shape, order=0, mode="grid-constant"
    )
    return replace(mask, data=data, affine=image.affine)


def _rows(affine: NDArray[np.float64]) -> str:
    return str(affine[:3].round(3).tolist())
