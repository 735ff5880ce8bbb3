"""One orientation and spacing for all scans, and the way back to each scan's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nibabel import orientations
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from torch.nn import functional as F

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


def resized_shape(
    shape: tuple[int, ...], spacing: tuple[float, ...], target: tuple[float, ...] | None
) -> tuple[int, ...]:
    """The grid of ``target`` millimetres that covers the same extent; the same shape where target is None."""
    if target is None:
        return shape
    return tuple(max(1, round(n * own / goal)) for n, own, goal in zip(shape, spacing, target, strict=True))


def resize_image(image: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Linear resize over the same extent."""
    values = np.asarray(image, dtype=np.float32)
    if values.shape == shape:
        return values
    resized = F.interpolate(torch.from_numpy(values)[None, None], size=shape, mode="trilinear", align_corners=False)
    return resized[0, 0].numpy()


def resize_labels(labels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Nearest resize over the same extent."""
    if labels.shape == shape:
        return labels
    resized = F.interpolate(torch.from_numpy(labels)[None, None], size=shape, mode="nearest-exact")
    return resized[0, 0].numpy()


def same_grid(affine: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Do two affines put every corner of a volume within a tenth of a voxel of each other?"""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    apart = np.abs((affine - other) @ corners)[:3].max()
    return bool(apart <= 0.1 * voxel_sizes(affine).min())
