"""Dice and HD95 of every organ of one case, by one of two protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medups.metrics.overlap import dice
from medups.metrics.surface import hausdorff95_mm

Protocol = Literal["synapse", "physical"]
Status = Literal["scored", "absent", "missed", "hallucinated"]


@dataclass(frozen=True)
class OrganScore:
    """One organ in one case.

    status: ``scored`` in both masks, ``missed`` in the label alone, ``hallucinated`` in the prediction alone,
    ``absent`` in neither. dice is 0..1, hd95 in the protocol's unit; None is left out of means. Volumes are None where
    the spacing is not known.
    """

    status: Status
    dice: float | None
    hd95: float | None
    volume_ml: float | None
    label_volume_ml: float | None


def hd95_unit(protocol: Protocol) -> str:
    return "voxel" if protocol == "synapse" else "mm"


def evaluate_case(
    pred: NDArray[np.integer],
    label: NDArray[np.integer],
    organs: Mapping[str, int],
    spacing_mm: Sequence[float] | None,
    protocol: Protocol = "physical",
) -> dict[str, OrganScore]:
    """Score each organ of one case.

    Args:
        pred, label: ids, of one shape.
        organs: organ name to its id, the same in both masks.
        spacing_mm: millimetres between voxels along each axis; None, not known, is for ``synapse`` alone.
        protocol: ``synapse`` is TransUNet's published rule: distances in voxels; predicted but absent from
            the label Dice 1 and HD95 0; not predicted 0 and 0. ``physical``: distances in mm; absent and
            hallucinated organs have no score, missed ones Dice 0 and no distance.

    Raises:
        ValueError: shapes that differ, an unknown protocol, or one that needs the spacing.
    """
    if pred.shape != label.shape:
        raise ValueError(f"evaluate_case: shapes differ, {pred.shape} and {label.shape}")
    if protocol not in ("synapse", "physical"):
        raise ValueError(f"evaluate_case: protocol must be 'synapse' or 'physical', got {protocol!r}")
    if spacing_mm is None and protocol == "physical":
        raise ValueError("evaluate_case: protocol 'physical' needs spacing_mm")
    millilitres = None if spacing_mm is None else float(np.prod(spacing_mm)) / 1000
    spacing = [1.0] * label.ndim if protocol == "synapse" or spacing_mm is None else spacing_mm
    scores = {}
    for organ, number in organs.items():
        found, truth = pred == number, label == number
        volumes = [None if millilitres is None else float(mask.sum()) * millilitres for mask in (found, truth)]
        if found.any() and truth.any():
            scores[organ] = OrganScore("scored", dice(found, truth), hausdorff95_mm(found, truth, spacing), *volumes)
            continue
        status: Status = "hallucinated" if found.any() else "missed" if truth.any() else "absent"
        if protocol == "synapse":
            scores[organ] = OrganScore(status, float(found.any()), 0.0, *volumes)
        else:
            scores[organ] = OrganScore(status, 0.0 if status == "missed" else None, None, *volumes)
    return scores
