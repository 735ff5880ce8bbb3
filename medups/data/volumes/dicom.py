"""Reading of a DICOM series as one volume, only if no slice is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.volume import Volume
from medups.errors import InputError

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def series_in(folder: Path) -> list[str]:
    """The ids of the DICOM series whose files are directly in ``folder``."""
    return list(_simpleitk().ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))


def is_dicom(file: Path) -> bool:
    """Whether the file is DICOM by its name or its first bytes; a DICOMDIR index does not count."""
    if file.name.upper() == "DICOMDIR":
        return False
    if file.suffix.lower() in (".dcm", ".ima"):
        return True
    try:
        with file.open("rb") as content:
            return content.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dicom(folder: Path) -> Volume:
    """Read the only series in ``folder``; voxels [column, row, slice], Hounsfield units for CT.

    The affine comes from the positions of the first and the last slice, so it is correct for tilted gantries too.

    Raises:
        InputError: no series or several; slices of different sizes or orientations; slices that are missing,
            unreadable or at the same position; or pixel data that cannot be read.
    """
    sitk = _simpleitk()
    series = series_in(folder)
    if len(series) != 1:
        count = f"{len(series)} DICOM series" if series else "no DICOM series"
        raise InputError(f"{folder}: expected one DICOM series, found {count}; put each series into its own folder")
    files = list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))
    _check_no_file_left_out(folder, files)
    headers = [_header(sitk, file) for file in files]
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        if header["size"] != first["size"] or not np.allclose(header["axes"], first["axes"], atol=1e-4):
            raise InputError(f"{file}: the slice differs from {files[0]} in size or orientation; the series is mixed")
    normal = np.cross(first["axes"][:3], first["axes"][3:])
    heights = np.array([header["position"] @ normal for header in headers])
    order = np.argsort(heights, kind="stable")
    _check_gaps(heights[order], [headers[i]["number"] for i in order], folder)
    sorted_files = [files[i] for i in order]
    data = _pixels(sitk, sorted_files)
    ends = headers[order[0]]["position"], headers[order[-1]]["position"]
    step = (ends[1] - ends[0]) / (len(files) - 1) if len(files) > 1 else normal * first["thickness"]
    affine = np.eye(4)
    affine[:3, 0] = first["axes"][:3] * first["spacing"][0]
    affine[:3, 1] = first["axes"][3:] * first["spacing"][1]
    affine[:3, 2], affine[:3, 3] = step, ends[0]
    return Volume(data, _TO_RAS @ affine, str(folder))


def _check_no_file_left_out(folder: Path, files: list[str]) -> None:
    """Raise InputError for unlisted slices: the reader omits damaged ones, which leave no gap at either end."""
    listed = {Path(file).name for file in files}
    suffixes = {Path(file).suffix.lower() for file in files} - {""}
    for file in sorted(folder.iterdir()):
        unlisted = file.is_file() and not file.name.startswith(".") and file.name not in listed
        if unlisted and (is_dicom(file) or file.suffix.lower() in suffixes or not file.stat().st_size):
            raise InputError(
                f"{file}: in the folder of a DICOM series but not a readable part of it; copy it again, or remove it"
            )


def _check_gaps(heights: NDArray[np.float64], numbers: list[int | None], folder: Path) -> None:
    steps = np.diff(heights)
    if not len(steps):
        return
    usual = float(np.median(steps))
    if steps.min() < 0.01:
        raise InputError(
            f"{folder}: two slices have the same position ({heights[np.argmin(steps)]:.2f} mm); keep one phase"
        )
    # headers commonly round to a hundredth of a millimeter; a twentieth of a step is not a gap
    wrong = np.flatnonzero(np.abs(steps - usual) > 0.05 * usual + 0.01)
    if len(wrong):
        gaps = ", ".join(f"{steps[i]:.2f} mm after {heights[i]:.2f} mm" for i in wrong[:3])
        raise InputError(
            f"{folder}: slices are missing: {len(heights)} found, {usual:.2f} mm apart, but {gaps}; "
            "copy the whole series"
        )
    known = [number for number in numbers if number is not None]
    if len(known) == len(heights) > 1:
        jumps = np.abs(np.diff(known))
        if jumps.max() != jumps.min() and len(set(known)) == len(known):
            raise InputError(
                f"{folder}: slices are missing: instance numbers run {min(known)} to {max(known)} with gaps, "
                f"{len(known)} found; copy the whole series"
            )


def _header(sitk: Any, file: str) -> dict[str, Any]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{file}: the DICOM header cannot be read ({_last_line(error)})") from error
    frames = int(np.prod(reader.GetSize()[2:], dtype=np.int64))
    if reader.GetNumberOfComponents() != 1 or frames != 1:
        values = f"{reader.GetNumberOfComponents()} values per pixel" if frames == 1 else f"{frames} frames"
        raise InputError(f"{file}: expected a slice of one value per pixel, found {values}; this is not a CT slice")

    def numbers(tag: str, count: int) -> NDArray[np.float64]:
        if not reader.HasMetaDataKey(tag):
            raise InputError(
                f"{file}: DICOM tag ({tag.replace('|', ',')}) is missing; the position of the slice is unknown"
            )
        text = reader.GetMetaData(tag)
        try:
            values = np.array([float(part) for part in text.split("\\")])
        except ValueError:
            values = np.empty(0)
        if len(values) != count or not np.isfinite(values).all():
            named = tag.replace("|", ",")
            raise InputError(f"{file}: expected {count} numbers in DICOM tag ({named}), found {text!r}")
        return values

    number = reader.GetMetaData("0020|0013").strip() if reader.HasMetaDataKey("0020|0013") else ""
    spacing = numbers("0028|0030", 2)[::-1]  # the file stores millimeters between rows first, then between columns
    if not (spacing > 0).all():
        raise InputError(f"{file}: pixel spacing must be positive, found {spacing.tolist()}")
    return {
        "size": reader.GetSize()[:2],
        "position": numbers("0020|0032", 3),
        "axes": numbers("0020|0037", 6),
        "spacing": spacing,
        "thickness": numbers("0018|0050", 1)[0] if _has_value(reader, "0018|0050") else 1.0,
        "number": int(number) if number.lstrip("-").isdigit() else None,
    }


def _has_value(reader: Any, tag: str) -> bool:
    return reader.HasMetaDataKey(tag) and bool(reader.GetMetaData(tag).strip())


def _pixels(sitk: Any, files: list[str]) -> NDArray[np.generic]:
    slices = []
    for file in files:
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(file)
        try:
            pixels = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise InputError(f"{file}: the pixel data is truncated or damaged ({_last_line(error)})") from error
        slices.append(pixels.reshape(pixels.shape[-2:]).T)
    return np.stack(slices, 2)


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError("reading DICOM needs SimpleITK: pip install SimpleITK") from error
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
