"""Distances between the surfaces of two masks.

A surface voxel has a face neighbor outside the mask; everything beyond the volume counts as outside. Tools differ in
what they compute from the distances, by more than 100 mm on the same masks (arXiv 2410.02630), so every measure states
its definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from medups.metrics.overlap import Mask, Overlap, dice

Distances = NDArray[np.float64]
Steps = Sequence[float] | NDArray[np.float64]
"""Millimeters between neighbors along each axis; or, for axes that are not at right angles, the vectors between
neighbors [space, axes]."""
Definition = Literal["pooled", "max_of_directed"]


@dataclass(frozen=True)
class SurfaceDistances:
    """The distances, in mm, that all measures of a pair of masks are computed from.

    Args:
        of_pred: of each surface voxel of the prediction to the surface of the label.
        of_label: the reverse.
    """

    of_pred: Distances
    of_label: Distances

    @classmethod
    def of(cls, pred: Mask, label: Mask, spacing_mm: Steps) -> SurfaceDistances:
        """Of two masks with at least one voxel each.

        Args:
            pred, label: bool, of the same shape.
            spacing_mm: see :data:`Steps`; all ones give distances in voxels.

        Raises:
            ValueError: an empty mask, or different shapes.
        """
        if pred.shape != label.shape:
            raise ValueError(f"surface_distances: shapes differ, {pred.shape} and {label.shape}")
        if not pred.any() or not label.any():
            raise ValueError("surface_distances: both masks need at least one voxel")
        box = bounding_box(pred | label)
        surfaces = [surface_voxels(mask[box]) for mask in (pred, label)]
        vectors = np.diag(spacing_mm) if np.ndim(spacing_mm) == 1 else np.asarray(spacing_mm).T
        shared = surfaces[0] & surfaces[1]
        trees = [KDTree(np.argwhere(surface) @ vectors, **_FAST_TO_BUILD) for surface in surfaces]
        distances = []
        for surface, other in zip(surfaces, reversed(trees), strict=True):
            result = np.zeros(np.count_nonzero(surface))
            apart = ~shared[surface]  # the rest is at distance 0
            result[apart] = other.query(np.argwhere(surface)[apart] @ vectors)[0]
            distances.append(result)
        return cls(*distances)

    def hausdorff95(self, definition: Definition = "pooled") -> float:
        """95th percentile of both directions pooled (medpy), or the larger of both directions' percentiles (MONAI)."""
        if definition == "pooled":
            return float(np.percentile(self._pooled(), 95))
        return float(max(np.percentile(directed, 95) for directed in (self.of_pred, self.of_label)))

    def hausdorff(self) -> float:
        """The largest distance of both directions."""
        return float(max(self.of_pred.max(), self.of_label.max()))

    def average(self) -> float:
        """The average symmetric surface distance: the mean of both directions pooled (MONAI).

        medpy's assd is the mean of both directions' means.
        """
        return float(self._pooled().mean())

    def dice(self, tolerance_mm: float) -> float:
        """Share of the surface voxels of both masks within ``tolerance_mm`` (normalized surface Dice), 0 to 1."""
        return float(np.mean(self._pooled() <= tolerance_mm))

    def _pooled(self) -> Distances:
        return np.concatenate((self.of_pred, self.of_label))


_FAST_TO_BUILD = {"balanced_tree": False, "compact_nodes": False}


def surface_distances(pred: Mask, label: Mask, spacing_mm: Steps) -> tuple[Distances, Distances]:
    """Distance of each surface voxel of ``pred`` to the surface of ``label``, and the reverse, in mm.

    Arguments and errors are those of :meth:`SurfaceDistances.of`.
    """
    distances = SurfaceDistances.of(pred, label, spacing_mm)
    return distances.of_pred, distances.of_label


def hausdorff95_mm(pred: Mask, label: Mask, spacing_mm: Steps, definition: Definition = "pooled") -> float | None:
    """:meth:`SurfaceDistances.hausdorff95`; None if a mask is empty: there is no distance to a missing surface."""
    if not pred.any() or not label.any():
        return None
    return SurfaceDistances.of(pred, label, spacing_mm).hausdorff95(definition)


def surface_dice(pred: Mask, label: Mask, spacing_mm: Steps, tolerance_mm: float) -> float | None:
    """Share of the surface voxels of both masks within ``tolerance_mm`` of the other surface, 0 to 1.

    None if both masks are empty, 0 if one is.
    """
    if not pred.any() and not label.any():
        return None
    if not pred.any() or not label.any():
        return 0.0
    return SurfaceDistances.of(pred, label, spacing_mm).dice(tolerance_mm)


def surface_element_dice(pred: Mask, label: Mask, spacing_mm: Sequence[float], tolerance_mm: float) -> float | None:
    """DeepMind's normalized surface Dice: the share of both surfaces' area within ``tolerance_mm`` of the other one.

    The surface runs between voxels, as triangles of known area, where :func:`surface_dice` counts voxels. MONAI's code
    computes it. None if both masks are empty, 0 if one is.

    Args:
        pred, label: bool [i, j, k], of the same shape.
        spacing_mm: along the axes.
    """
    if not pred.any() or not label.any():
        return None if pred.any() == label.any() else 0.0
    import torch
    from monai.metrics import compute_surface_dice

    box = bounding_box(pred | label)
    masks = [torch.from_numpy(np.pad(mask[box], 1)[None]) for mask in (pred, label)]
    one_hot = [torch.stack([~mask, mask], 1).float() for mask in masks]
    return compute_surface_dice(*one_hot, [tolerance_mm], spacing=list(spacing_mm), use_subvoxels=True).item()


def border_dice(pred: Mask, label: Mask, spacing_mm: Steps, width_mm: float) -> float | None:
    """Dice of the voxels at most ``width_mm`` from the label's surface voxels, 0 to 1; None if the label is empty.

    Errors elsewhere do not count, so organs of different sizes are comparable.
    """
    if not label.any():
        return None
    box = bounding_box(pred | label)
    pred, label = pred[box], label[box]
    surface = surface_voxels(label)
    if np.ndim(spacing_mm) == 1:
        distances = ndimage.distance_transform_edt(~surface, sampling=spacing_mm)
    else:
        vectors = np.asarray(spacing_mm).T
        everywhere = np.argwhere(np.ones_like(label)) @ vectors
        distances = KDTree(np.argwhere(surface) @ vectors).query(everywhere)[0].reshape(label.shape)
    band = distances <= width_mm
    return dice(pred & band, label & band)


def boundary_iou(pred: Mask, label: Mask, spacing_mm: Sequence[float], width_mm: float) -> float | None:
    """IoU of the voxels of each mask at most ``width_mm`` from the nearest voxel outside it (arXiv 2103.16562), 0 to 1.

    Everything beyond the volume counts as outside. None if both masks are empty.
    """
    if not pred.any() and not label.any():
        return None
    box = bounding_box(pred | label)
    regions = []
    for mask in (pred[box], label[box]):
        depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)
        regions.append(mask & (depth[(slice(1, -1),) * mask.ndim] <= width_mm))
    return Overlap.of(*regions).iou


def surface_voxels(mask: Mask) -> Mask:
    """The voxels of a mask that have a face neighbor outside it."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        first, last = (tuple([slice(None)] * axis + [part]) for part in (slice(1, None), slice(None, -1)))
        inside[first] &= mask[last]
        inside[last] &= mask[first]
        for end in (0, -1):
            inside[tuple([slice(None)] * axis + [end])] = False
    return mask & ~inside


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty."""
    box = ndimage.find_objects(mask.view(np.int8))[0]
    assert box is not None
    return box
