"""Overlap and surface distances with units in their names. NumPy and SciPy compute all but two of them."""

from medups.metrics.case import MEASURES, TOLERANCE_MM, OrganScore, evaluate_case, hd95_unit
from medups.metrics.centerline import centerline_dice
from medups.metrics.overlap import Overlap, dice
from medups.metrics.surface import (
    SurfaceDistances,
    border_dice,
    boundary_iou,
    hausdorff95_mm,
    surface_dice,
    surface_distances,
    surface_element_dice,
)

__all__ = [
    "MEASURES",
    "TOLERANCE_MM",
    "OrganScore",
    "Overlap",
    "SurfaceDistances",
    "border_dice",
    "boundary_iou",
    "centerline_dice",
    "dice",
    "evaluate_case",
    "hausdorff95_mm",
    "hd95_unit",
    "surface_dice",
    "surface_distances",
    "surface_element_dice",
]
