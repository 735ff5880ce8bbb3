"""All measures of every organ of one case, by one of two protocols."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medups.metrics.overlap import Mask, Overlap
from medups.metrics.surface import Steps, SurfaceDistances

Protocol = Literal["synapse", "physical"]
Status = Literal["scored", "absent", "missed", "hallucinated"]
TOLERANCE_MM = 2.0
"""Of the surface Dice, unless another one is chosen."""
MEASURES: Mapping[Protocol, tuple[str, ...]] = {
    "synapse": ("dice", "hd95"),
    "physical": (
        "dice", "surface_dice", "hd95", "assd", "hd", "hd95_directed", "iou", "precision", "recall", "volume_error",
    ),
}  # fmt: skip
"""The measures of :class:`OrganScore` that a protocol defines."""
_AT_ONCE = 2  # organs; each needs some ten bytes for a voxel of its box


@dataclass(frozen=True)
class OrganScore:
    """One organ in one case. None is left out of means.

    Args:
        status: ``scored``: in both masks; ``missed``: in the label only; ``hallucinated``: in the prediction only;
            ``absent``: in neither.
        dice, iou, precision, recall: see :class:`~medups.metrics.overlap.Overlap`, 0 to 1.
        hd95: pooled, as in medpy, in the protocol's unit.
        hd95_directed: the larger of both directions' 95th percentiles, as in MONAI, in mm.
        hd, assd: largest and average symmetric surface distance, in mm.
        surface_dice: the share of the surface within the tolerance, 0 to 1.
        volume_ml, label_volume_ml: None if the spacing is unknown.
        overlap: the voxels of both masks.
    """

    status: Status
    dice: float | None
    hd95: float | None
    volume_ml: float | None
    label_volume_ml: float | None
    iou: float | None = None
    precision: float | None = None
    recall: float | None = None
    surface_dice: float | None = None
    assd: float | None = None
    hd: float | None = None
    hd95_directed: float | None = None
    overlap: Overlap | None = None

    @property
    def volume_error(self) -> float | None:
        """The prediction's volume minus the label's, relative to the label's; None without a label."""
        if self.volume_ml is None or not self.label_volume_ml:
            return None
        return self.volume_ml / self.label_volume_ml - 1


def hd95_unit(protocol: str) -> str:
    """The unit of HD95: ``voxel`` or ``mm``."""
    return "voxel" if protocol == "synapse" else "mm"


def evaluate_case(
    pred: NDArray[np.integer],
    label: NDArray[np.integer],
    organs: Mapping[str, int],
    spacing_mm: Steps | None,
    protocol: Protocol = "physical",
    tolerance_mm: float | Mapping[str, float] = TOLERANCE_MM,
) -> dict[str, OrganScore]:
    """Score each organ of one case.

    Args:
        pred, label: ids, of the same shape.
        organs: id by organ name, the same in both masks.
        spacing_mm: millimeters between voxels along each axis, or the vectors between neighbors [3, axes] of a sheared
            grid; None (unknown) only for ``synapse``.
        protocol: ``synapse`` is TransUNet's published rule: Dice, and distances in voxels; an organ that is predicted
            but absent from the label gets Dice 1 and HD95 0, an organ that is not predicted gets 0 and 0. ``physical``:
            all measures, distances in mm; absent and hallucinated organs have no score, missed organs have Dice,
            IoU, recall and surface Dice 0, volume error -1, and neither precision nor distances.
        tolerance_mm: of the surface Dice, for all organs or by organ.

    Raises:
        ValueError: different shapes, an unknown protocol, or ``physical`` without a spacing.
    """
    if pred.shape != label.shape:
        raise ValueError(f"evaluate_case: shapes differ, {pred.shape} and {label.shape}")
    if protocol not in ("synapse", "physical"):
        raise ValueError(f"evaluate_case: protocol must be 'synapse' or 'physical', got {protocol!r}")
    if spacing_mm is None and protocol == "physical":
        raise ValueError("evaluate_case: protocol 'physical' needs spacing_mm")
    milliliters = None if spacing_mm is None else _milliliters(spacing_mm)
    spacing: Steps = [1.0] * label.ndim if protocol == "synapse" or spacing_mm is None else spacing_mm
    boxes = [ndimage.find_objects(mask, max(organs.values(), default=0)) for mask in (pred, label)]

    def score(organ: str) -> OrganScore:
        number = organs[organ]
        box = _union([found[number - 1] for found in boxes])
        predicted, reference = (mask[box] == number for mask in (pred, label))
        tolerance = tolerance_mm if isinstance(tolerance_mm, float | int) else tolerance_mm.get(organ, TOLERANCE_MM)
        return _score(predicted, reference, spacing, protocol, milliliters, tolerance)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(organs, pool.map(score, organs), strict=True))


def _score(
    pred: Mask, label: Mask, steps: Steps, protocol: Protocol, milliliters: float | None, tolerance: float
) -> OrganScore:
    """The score of one organ, from its masks in their common box."""
    overlap = Overlap.of(pred, label)
    pred_ml, label_ml = (None if milliliters is None else n * milliliters for n in (overlap.pred, overlap.label))
    if overlap.pred and overlap.label:
        distances = SurfaceDistances.of(pred, label, steps)
        score = OrganScore("scored", overlap.dice, distances.hausdorff95(), pred_ml, label_ml, overlap=overlap)
        if protocol == "synapse":
            return score
        return replace(
            score,
            iou=overlap.iou,
            precision=overlap.precision,
            recall=overlap.recall,
            surface_dice=distances.dice(tolerance),
            assd=distances.average(),
            hd=distances.hausdorff(),
            hd95_directed=distances.hausdorff95("max_of_directed"),
        )
    status: Status = "hallucinated" if overlap.pred else "missed" if overlap.label else "absent"
    score = OrganScore(status, None, None, pred_ml, label_ml, overlap=overlap)
    if protocol == "synapse":
        return replace(score, dice=float(overlap.pred > 0), hd95=0.0)
    if status == "missed":
        return replace(score, dice=0.0, iou=0.0, recall=0.0, surface_dice=0.0)
    return score


def _union(boxes: list[tuple[slice, ...] | None]) -> tuple[slice, ...]:
    """The smallest box around all boxes that exist; an empty one if none does."""
    existing = [box for box in boxes if box is not None]
    if not existing:
        return (slice(0),)
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*existing, strict=True)
    )


def _milliliters(spacing_mm: Steps) -> float:
    """The volume of a voxel."""
    steps = np.asarray(spacing_mm)
    return float(abs(np.linalg.det(steps)) if steps.ndim == 2 else np.prod(steps)) / 1000
