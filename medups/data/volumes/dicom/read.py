"""Voxels of a DICOM series on one grid."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.dicom.geometry import Stack, arrange
from medups.data.volumes.dicom.headers import DicomSeries, Slice
from medups.data.volumes.dicom.survey import survey_folder
from medups.data.volumes.itk import last_line, read_image
from medups.data.volumes.volume import Volume
from medups.errors import InputError


def only_series(folder: Path, chosen: str | None = None) -> DicomSeries:
    """The only series in ``folder``, or the one of several whose description, number or uid is ``chosen``.

    Raises:
        InputError: no series, several, or a damaged file among them.
    """
    try:
        content = survey_folder(folder)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    if content.problems:
        raise InputError("; ".join(content.problems))
    series = [one for one in content.series if chosen is None or is_called(one, chosen)]
    if len(series) != 1:
        found = "; ".join(one.title for one in content.series) or "; ".join(content.set_aside) or "no DICOM files"
        count = f"{len(series)} DICOM series" if series else "no DICOM series"
        raise InputError(
            f"{folder}: expected one DICOM series, found {count}: {found}; put each series into its own folder"
        )
    return series[0]


def is_called(series: DicomSeries, name: str) -> bool:
    """Whether ``name`` is the series' description, number or uid."""
    number = "" if series.number is None else str(series.number)
    return name.strip().casefold() in (series.description.casefold(), number, series.uid)


def read_series(series: DicomSeries, resample: bool = False) -> Volume:
    """Voxels [column, row, slice], float32, Hounsfield units for CT.

    The affine comes from the positions of the first and the last slice, so it is correct for tilted gantries too.

    Args:
        resample: interpolate slices at uneven distances to an even grid instead of refusing them.

    Raises:
        InputError: a series that is no volume, see :func:`~medups.data.volumes.dicom.geometry.arrange`, or pixel data
            that cannot be read.
    """
    stack = arrange(series, resample)
    columns, rows, count = stack.shape
    slices = stack.series.slices
    data = np.empty((len(slices), rows, columns), dtype=np.float32)
    place = {id(member): row for row, member in enumerate(slices)}
    for file, members in groupby(sorted(slices, key=lambda member: str(member.file)), key=lambda member: member.file):
        in_file = list(members)
        for member, image in zip(in_file, _images(file, in_file), strict=True):
            if image.shape != (rows, columns):
                raise InputError(f"{member.name}: {image.shape} pixels where the header says {(rows, columns)}")
            data[place[id(member)]] = image
    if not stack.is_regular:
        data = _resampled(data, stack, count)
    return Volume(
        data.transpose(2, 1, 0),
        stack.affine,
        str(series.folder),
        modality=series.modality,
        header=stack.series,
        warnings=stack.warnings,
    )


def _resampled(data: NDArray[np.float32], stack: Stack, count: int) -> NDArray[np.float32]:
    """Rows of the even grid, each interpolated linearly between the nearest two slices."""
    result = np.empty((count, *data.shape[1:]), dtype=np.float32)
    for row in range(count):
        upper = int(np.clip(np.searchsorted(stack.heights, row), 1, len(data) - 1))
        low, high = stack.heights[upper - 1], stack.heights[upper]
        share = np.float32(np.clip((row - low) / (high - low), 0, 1))
        result[row] = (1 - share) * data[upper - 1] + share * data[upper]
    return result


def _images(file: Path, members: list[Slice]) -> list[NDArray[np.float32]]:
    """The images of one file, with slope and intercept applied."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(file, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:  # files of before 1993 have no preamble
                implicit, _ = dataset.original_encoding
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            syntax = dataset.file_meta.TransferSyntaxUID
            if not syntax.is_compressed or _pydicom_decodes(syntax):
                frames = _stored_bits(dataset).reshape(-1, dataset.Rows, dataset.Columns)
                scales = [member.rescale or (1.0, 0.0) for member in members]
                chosen = [frames[member.frame or 0] for member in members]
                return [_rescaled(image, *scale) for image, scale in zip(chosen, scales, strict=True)]
    except Exception as error:  # pydicom raises errors of many types
        raise InputError(f"{file}: the pixel data is truncated or damaged ({last_line(error)})") from error
    return _decompressed(file, members)


def _pydicom_decodes(syntax: Any) -> bool:
    """RLE always, other compression if the user installed a decoder; GDCM does the rest."""
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _stored_bits(dataset: Any) -> NDArray[np.integer]:
    """Pixel values without what some scanners keep in the unused high bits."""
    values = dataset.pixel_array
    if values.dtype.kind == "f":
        return values
    unused = int(dataset.BitsAllocated) - int(dataset.BitsStored)
    return (values << unused) >> unused if unused else values


def _rescaled(image: NDArray[Any], slope: float, intercept: float) -> NDArray[np.float32]:
    return (image * np.float64(slope) + intercept).astype(np.float32)


def _decompressed(file: Path, members: list[Slice]) -> list[NDArray[np.float32]]:
    """GDCM decompresses, and applies the first frame's slope and intercept to all frames."""
    pixels, _ = read_image(file, "GDCMImageIO")
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    first = min(members, key=lambda member: member.frame or 0)
    slope, intercept = first.rescale or (1.0, 0.0)
    images = []
    for member in members:
        values = frames[member.frame or 0]
        if member.rescale != first.rescale:
            values = _rescaled((values - intercept) / slope, *(member.rescale or (1.0, 0.0)))
        images.append(values.astype(np.float32))
    return images
