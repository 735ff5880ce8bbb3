"""Overlap and surface distances, units in the names; numpy and scipy alone."""

from medups.metrics.case import OrganScore, evaluate_case, hd95_unit
from medups.metrics.overlap import dice
from medups.metrics.surface import hausdorff95_mm, surface_dice, surface_distances

__all__ = [
    "OrganScore",
    "dice",
    "evaluate_case",
    "hausdorff95_mm",
    "hd95_unit",
    "surface_dice",
    "surface_distances",
]
