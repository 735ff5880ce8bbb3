"""The place of every slice: one evenly spaced stack, or the reason why a series is none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.dicom.headers import DicomSeries, Slice
from medups.data.volumes.itk import LPS_TO_RAS
from medups.data.volumes.volume import RIGHT_ANGLE, shear_degrees
from medups.errors import InputError

_ROUNDING_MM = 0.1  # positions in headers are often rounded to a tenth of a millimeter
_LARGEST_GAP = 4  # steps that resampling may bridge


@dataclass(frozen=True)
class Stack:
    """Slices in order, and the evenly spaced grid that they are on or are resampled to.

    Args:
        series: its slices in the order of the third axis, with their rows.
        heights: of the slices along the normal, in units of the grid's step from its first row.
        shape: columns, rows, slices of the grid.
        affine: from voxel indices to RAS+ millimeters.
    """

    series: DicomSeries
    heights: NDArray[np.float64]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    warnings: tuple[str, ...]

    @property
    def is_regular(self) -> bool:
        """Whether every row of the grid is a slice."""
        return self.shape[2] == len(self.series.slices)


def arrange(series: DicomSeries, resample: bool = False) -> Stack:
    """Order the slices by position and place them in space.

    Args:
        resample: place slices at uneven distances on an even grid instead of refusing them.

    Raises:
        InputError: slices that differ in size, orientation, spacing or scale, lie shifted in their plane, repeat a
            position, or are missing; or a single slice without a thickness.
    """
    first = series.slices[0]
    for other in series.slices:
        _require_same_kind(first, other)
    normal = np.cross(first.axes[:3], first.axes[3:])
    heights = np.array([np.dot(member.position, normal) for member in series.slices])
    order = np.argsort(heights, kind="stable")
    slices, heights = [series.slices[i] for i in order], heights[order]
    positions = np.array([member.position for member in slices])
    warnings: list[str] = []
    if len(slices) == 1:
        step = normal * _thickness(first)
        relative, count = np.zeros(1), 1
    else:
        _require_distinct(slices, heights)
        _require_no_shift(slices, positions, heights)
        relative, count, warnings = _rows(series, slices, heights, resample)
        step = (positions[-1] - positions[0]) / (count - 1)
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.axes[:3], first.spacing[0])
    affine[:3, 1] = np.multiply(first.axes[3:], first.spacing[1])
    affine[:3, 2], affine[:3, 3] = step, positions[0]
    tilt = shear_degrees(affine)
    if tilt > RIGHT_ANGLE:
        warnings = [
            *warnings,
            f"the gantry was tilted by {tilt:.1f} degrees; of a NIfTI mask's headers only the sform holds the sheared "
            "grid, and viewers that read the qform place slices elsewhere",
        ]
    arranged = replace(series, slices=tuple(slices), rows=tuple(np.rint(relative).astype(int).tolist()))
    return Stack(arranged, relative, (*first.size, count), LPS_TO_RAS @ affine, tuple(warnings))


def _require_same_kind(first: Slice, other: Slice) -> None:
    differing = [
        what
        for what, same in (
            ("size", first.size == other.size),
            ("orientation", np.allclose(first.axes, other.axes, atol=1e-3)),
            ("pixel spacing", np.allclose(first.spacing, other.spacing, rtol=1e-3)),
            (
                "rescale slope and intercept, which only one of them has",
                (first.rescale is None) == (other.rescale is None),
            ),
        )
        if not same
    ]
    if differing:
        raise InputError(
            f"{other.name}: differs from {first.name} in {', '.join(differing)}; the series is mixed: put each part "
            "into its own folder"
        )


def _thickness(only: Slice) -> float:
    if only.thickness is None or not only.thickness > 0:
        raise InputError(
            f"{only.name}: a single slice needs a slice thickness above 0 in SliceThickness (0018,0050), found "
            f"{only.thickness}; add the rest of the series"
        )
    return only.thickness


def _require_distinct(slices: list[Slice], heights: NDArray[np.float64]) -> None:
    repeated = np.flatnonzero(np.diff(heights) < 0.01)
    if len(repeated):
        i = int(repeated[0])
        raise InputError(
            f"{slices[i + 1].name}: at the same position as {slices[i].name} ({heights[i]:.2f} mm), {len(repeated)} "
            f"such {'slice' if len(repeated) == 1 else 'slices'} in all; keep one phase, or remove the copies"
        )


def _require_no_shift(slices: list[Slice], positions: NDArray[np.float64], heights: NDArray[np.float64]) -> None:
    """The slices of a tilted gantry are shifted too, but by the same amount from each to the next."""
    shares = (heights - heights[0]) / (heights[-1] - heights[0])
    expected = positions[0] + shares[:, None] * (positions[-1] - positions[0])
    # a shifted slice at an end would tilt the line through the ends, and rounded headers the line of usual steps
    drift = np.median(np.diff(positions, axis=0) / np.diff(heights)[:, None], axis=0)
    offsets = positions - heights[:, None] * drift
    allowed = max(2 * _ROUNDING_MM, 0.25 * min(slices[0].spacing))
    off = np.abs(offsets - np.median(offsets, axis=0)).max(1)
    if np.abs(positions - expected).max() > allowed and off.max() > allowed:
        worst = int(off.argmax())
        raise InputError(
            f"{slices[worst].name}: lies {off[worst]:.1f} mm beside the line of the other slices; the series is mixed: "
            "put each part into its own folder"
        )


def _rows(
    series: DicomSeries, slices: list[Slice], heights: NDArray[np.float64], resample: bool
) -> tuple[NDArray[np.float64], int, list[str]]:
    """Heights in steps of an even grid, the number of its rows, and warnings. Raises InputError if they do not fit."""
    count = len(heights)
    step = (heights[-1] - heights[0]) / (count - 1)
    relative = (heights - heights[0]) / step
    tolerance = max(0.1, _ROUNDING_MM / step)
    if np.abs(relative - np.arange(count)).max() <= min(tolerance, 0.3):
        return relative, count, []
    steps = np.diff(heights)
    usual = float(np.median(steps))
    wide = np.flatnonzero(np.abs(steps - usual) > 0.05 * usual + 0.01)
    gaps = ", ".join(f"{steps[i]:.2f} mm after {heights[i]:.2f} mm" for i in wide[:3])
    smallest = float(steps.min())
    reason = (
        f"slices are missing: {count} found, {usual:.2f} mm apart, but {gaps}"
        if _numbers_jump(slices, np.flatnonzero(steps > 1.2 * smallest))
        else f"the distance of the slices is uneven: {usual:.2f} mm for most of {count}, but {gaps}"
    )
    if not resample or steps.max() > _LARGEST_GAP * smallest + _ROUNDING_MM:
        advice = "copy the whole series, or pass --resample to interpolate" if not resample else "copy the whole series"
        raise InputError(f"{series.folder}: {reason}; {advice}")
    rows = round((heights[-1] - heights[0]) / smallest) + 1
    relative = (heights - heights[0]) / (heights[-1] - heights[0]) * (rows - 1)
    return relative, rows, [f"{reason}; resampled to {rows} slices, {rows - count} of them interpolated"]


def _numbers_jump(slices: list[Slice], wide: NDArray[np.intp]) -> bool:
    """Whether instance numbers are missing where slices are far apart, or say nothing."""
    numbers = [member.number for member in slices]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or len(set(known)) < len(known):
        return True
    return any(abs(known[i + 1] - known[i]) != 1 for i in wide)
