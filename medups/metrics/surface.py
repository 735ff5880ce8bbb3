"""Distances between the surfaces of two masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from medups.metrics.overlap import Mask, dice

Distances = NDArray[np.float64]
Steps = Sequence[float] | NDArray[np.float64]
"""Millimeters between neighbors along each axis; or, for axes that are not at right angles, the vectors between
neighbors [space, axes]."""


def surface_distances(pred: Mask, label: Mask, spacing_mm: Steps) -> tuple[Distances, Distances]:
    """Distance of each surface voxel of ``pred`` to the surface of ``label``, and the reverse, in mm.

    A surface voxel has a face neighbor outside the mask; everything beyond the volume counts as outside.

    Args:
        pred, label: bool, of the same shape, each with at least one voxel.
        spacing_mm: see :data:`Steps`; all ones give distances in voxels.

    Raises:
        ValueError: an empty mask, or different shapes.
    """
    if pred.shape != label.shape:
        raise ValueError(f"surface_distances: shapes differ, {pred.shape} and {label.shape}")
    if not pred.any() or not label.any():
        raise ValueError("surface_distances: both masks need at least one voxel")
    box = _box(pred | label)
    surfaces = [_surface(mask[box]) for mask in (pred, label)]
    return _to_surface(surfaces[1], surfaces[0], spacing_mm), _to_surface(surfaces[0], surfaces[1], spacing_mm)


def hausdorff95_mm(pred: Mask, label: Mask, spacing_mm: Steps) -> float | None:
    """95th percentile of the pooled surface distances of both directions (medpy's HD95), in mm.

    None if a mask is empty: there is no distance to a missing surface.
    """
    if not pred.any() or not label.any():
        return None
    return float(np.percentile(np.concatenate(surface_distances(pred, label, spacing_mm)), 95))


def surface_dice(pred: Mask, label: Mask, spacing_mm: Steps, tolerance_mm: float) -> float | None:
    """Share of the surface voxels of both masks within ``tolerance_mm`` of the other surface, 0 to 1.

    None if both masks are empty, 0 if one is.
    """
    if not pred.any() and not label.any():
        return None
    if not pred.any() or not label.any():
        return 0.0
    return float(np.mean(np.concatenate(surface_distances(pred, label, spacing_mm)) <= tolerance_mm))


def border_dice(pred: Mask, label: Mask, spacing_mm: Steps, width_mm: float) -> float | None:
    """Dice of the voxels at most ``width_mm`` from the label's surface voxels, 0 to 1; None if the label is empty.

    Errors elsewhere do not count, so organs of different sizes are comparable.
    """
    if not label.any():
        return None
    box = _box(pred | label)
    pred, label = pred[box], label[box]
    distances = _to_surface(_surface(label), np.ones_like(label), spacing_mm)
    band = distances.reshape(label.shape) <= width_mm
    return dice(pred & band, label & band)


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty."""
    return tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(mask))


def _surface(mask: Mask) -> Mask:
    return mask & ~ndimage.binary_erosion(mask)


def _to_surface(surface: Mask, at: Mask, steps: Steps) -> Distances:
    """The distance of each voxel of ``at`` to the nearest voxel of ``surface``."""
    if np.ndim(steps) == 1:
        return ndimage.distance_transform_edt(~surface, sampling=steps)[at]
    vectors = np.asarray(steps).T
    return KDTree(np.argwhere(surface) @ vectors).query(np.argwhere(at) @ vectors)[0]
