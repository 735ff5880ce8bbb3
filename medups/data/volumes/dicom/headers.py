"""What the headers of a series say about its slices; a slice is a file, or a frame of a multi-frame file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medups.errors import InputError

Vector = tuple[float, ...]

TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality", "ImageType",
    "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "InstanceNumber", "RescaleSlope", "RescaleIntercept",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
"""The attributes that are read of every file."""


@dataclass(frozen=True)
class Slice:
    """One image of a series.

    Args:
        frame: the index in a multi-frame file; None in a file of one image.
        uid: SOPInstanceUID of the file.
        size: columns and rows.
        position: of the center of the first voxel, in mm toward left, back and head.
        axes: directions along a row and along a column.
        spacing: mm between columns and between rows.
        thickness: mm, or None.
        number: InstanceNumber, or the number of the frame; None if unknown.
        rescale: slope and intercept of the stored values, or None.
    """

    file: Path
    frame: int | None
    uid: str
    size: tuple[int, int]
    position: Vector
    axes: Vector
    spacing: Vector
    thickness: float | None
    number: int | None
    rescale: tuple[float, float] | None

    @property
    def name(self) -> str:
        """For messages: the file, and the frame if it has several."""
        return str(self.file) if self.frame is None else f"{self.file}, frame {self.frame + 1}"


@dataclass(frozen=True)
class DicomSeries:
    """A series of slices.

    Args:
        rows: the index of each slice along the third axis of the volume; empty until the slices are arranged.
    """

    folder: Path
    uid: str
    modality: str
    description: str
    number: int | None
    slices: tuple[Slice, ...]
    rows: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """For messages: what tells series of one folder apart."""
        number = "" if self.number is None else f"number {self.number}, "
        return f"{self.description or self.uid} ({number}{self.modality}, {len(self.slices)} slices)"


def slices_of(dataset: Any, file: Path) -> list[Slice]:
    """The images of a file. Raises InputError for a missing or malformed attribute."""
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(
            f"{file}: expected one value per pixel, found {dataset.SamplesPerPixel}; this is not a CT slice"
        )
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if per_frame:
        if len(per_frame) != frames:
            raise InputError(f"{file}: {frames} frames, but positions of {len(per_frame)}; copy the file again")
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
        return [_slice(dataset, file, index, (group, shared)) for index, group in enumerate(per_frame)]
    if frames != 1:
        raise InputError(f"{file}: {frames} frames without positions; export the series as single or enhanced images")
    return [_slice(dataset, file, None, ())]


def _slice(dataset: Any, file: Path, frame: int | None, groups: tuple[Any, ...]) -> Slice:
    def holder(sequence: str) -> Any:
        """Where an attribute is: in the file itself, or in a functional group of the frame or of all frames."""
        if frame is None:
            return dataset
        found = (group.get(sequence) for group in groups if group is not None)
        return next((items[0] for items in found if items), {})

    spacing = numbers(holder("PixelMeasuresSequence"), "PixelSpacing", 2, file)[::-1]  # the file has rows first
    if not min(spacing) > 0:
        raise InputError(f"{file}: pixel spacing must be positive, found {list(spacing)}")
    scale = holder("PixelValueTransformationSequence")
    given = [scale.get(name) for name in ("RescaleSlope", "RescaleIntercept")]
    rescale = None
    if any(_has_value(value) for value in given):
        rescale = (
            numbers(scale, "RescaleSlope", 1, file)[0] if _has_value(given[0]) else 1.0,
            numbers(scale, "RescaleIntercept", 1, file)[0] if _has_value(given[1]) else 0.0,
        )
    thick = holder("PixelMeasuresSequence")
    return Slice(
        file=file,
        frame=frame,
        uid=str(dataset.get("SOPInstanceUID") or ""),
        size=(int(dataset.Columns), int(dataset.Rows)),
        position=numbers(holder("PlanePositionSequence"), "ImagePositionPatient", 3, file),
        axes=numbers(holder("PlaneOrientationSequence"), "ImageOrientationPatient", 6, file),
        spacing=spacing,
        thickness=numbers(thick, "SliceThickness", 1, file)[0] if _has_value(thick.get("SliceThickness")) else None,
        number=_whole(dataset.get("InstanceNumber")) if frame is None else frame + 1,
        rescale=rescale,
    )


def numbers(dataset: Any, keyword: str, count: int, file: Path) -> Vector:
    """``count`` finite numbers of an attribute. Raises InputError otherwise."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    named = f"{keyword} ({tag >> 16:04x},{tag & 0xFFFF:04x})"
    value = dataset.get(keyword)
    if not _has_value(value):
        raise InputError(f"{file}: DICOM attribute {named} is missing; the place of the slice is unknown")
    parts = value if isinstance(value, (list, tuple)) or hasattr(value, "insert") else [value]
    try:
        values = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{file}: expected {count} numbers in DICOM attribute {named}, found {str(value)!r}")
    return values


def _has_value(value: Any) -> bool:
    return value is not None and str(value).strip() not in ("", "None")


def _whole(value: Any) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None
