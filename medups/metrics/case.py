"""Dice and HD95 of every organ of one case, by one of two protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medups.metrics.overlap import dice
from medups.metrics.surface import Steps, hausdorff95_mm

Protocol = Literal["synapse", "physical"]
Status = Literal["scored", "absent", "missed", "hallucinated"]


@dataclass(frozen=True)
class OrganScore:
    """One organ in one case.

    status: ``scored``: in both masks; ``missed``: in the label only; ``hallucinated``: in the prediction only;
    ``absent``: in neither. dice is 0..1, hd95 in the protocol's unit; None is left out of means. Volumes are None if
    the spacing is unknown.
    """

    status: Status
    dice: float | None
    hd95: float | None
    volume_ml: float | None
    label_volume_ml: float | None


def hd95_unit(protocol: Protocol) -> str:
    """The unit of HD95: ``voxel`` or ``mm``."""
    return "voxel" if protocol == "synapse" else "mm"


def evaluate_case(
    pred: NDArray[np.integer],
    label: NDArray[np.integer],
    organs: Mapping[str, int],
    spacing_mm: Steps | None,
    protocol: Protocol = "physical",
) -> dict[str, OrganScore]:
    """Score each organ of one case.

    Args:
        pred, label: ids, of the same shape.
        organs: id by organ name, the same in both masks.
        spacing_mm: millimeters between voxels along each axis, or the vectors between neighbors [3, axes] of a sheared
            grid; None (unknown) only for ``synapse``.
        protocol: ``synapse`` is TransUNet's published rule: distances in voxels; an organ that is predicted but absent
            from the label gets Dice 1 and HD95 0, an organ that is not predicted gets 0 and 0. ``physical``: distances
            in mm; absent and hallucinated organs have no score, missed organs have Dice 0 and no distance.

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
    scores = {}
    for organ, number in organs.items():
        predicted, reference = pred == number, label == number
        volumes = [None if milliliters is None else float(mask.sum()) * milliliters for mask in (predicted, reference)]
        if predicted.any() and reference.any():
            distance = hausdorff95_mm(predicted, reference, spacing)
            scores[organ] = OrganScore("scored", dice(predicted, reference), distance, *volumes)
            continue
        status: Status = "hallucinated" if predicted.any() else "missed" if reference.any() else "absent"
        if protocol == "synapse":
            scores[organ] = OrganScore(status, float(predicted.any()), 0.0, *volumes)
        else:
            scores[organ] = OrganScore(status, 0.0 if status == "missed" else None, None, *volumes)
    return scores


def _milliliters(spacing_mm: Steps) -> float:
    """The volume of a voxel."""
    steps = np.asarray(spacing_mm)
    return float(abs(np.linalg.det(steps)) if steps.ndim == 2 else np.prod(steps)) / 1000
