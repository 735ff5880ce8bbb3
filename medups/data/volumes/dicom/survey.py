"""The DICOM files of a folder: series of images, other objects that are set aside, and damaged files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medups.data.volumes.dicom.headers import TAGS, DicomSeries, Slice, slices_of
from medups.errors import InputError

_SUFFIXES = (".dcm", ".ima", ".dicom")
_NO_SCANS = ("RTDOSE", "RTIMAGE", "SEG", "PR", "KO", "SR", "DOC", "REG")
_OVERVIEWS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM")
_APPLE_DOUBLE = b"\x00\x05\x16\x07"  # macOS's resource forks, ._NAME


@dataclass
class FolderContent:
    """What the DICOM files directly in a folder are.

    Args:
        series: the series of images, by number and description.
        set_aside: files that are no images of a scan, each a sentence.
        problems: files that are damaged or cannot be placed, each a sentence.
    """

    series: list[DicomSeries] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def has_dicom(self) -> bool:
        return bool(self.series or self.set_aside or self.problems)


def is_dicom(file: Path) -> bool:
    """Whether the file is DICOM by its name or its first bytes; a DICOMDIR index does not count."""
    if file.name.upper() == "DICOMDIR":
        return False
    start = _start(file)
    if start.startswith(_APPLE_DOUBLE):
        return False
    return file.suffix.lower() in _SUFFIXES or start[128:] == b"DICM"


def is_apple_double(file: Path) -> bool:
    """Whether the file is a resource fork that macOS stores beside a file, ``._NAME``."""
    return _start(file).startswith(_APPLE_DOUBLE)


def survey_folder(folder: Path) -> FolderContent:
    """Read the headers of all DICOM files directly in ``folder``. Raises OSError if it cannot be listed."""
    content = FolderContent()
    files = [entry for entry in sorted(folder.iterdir()) if not entry.is_dir()]
    found = [file for file in files if file.exists() and is_dicom(file)]
    members: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    for file in found:
        dataset = _read(file, content)
        if dataset is not None:
            members[str(dataset.get("SeriesInstanceUID") or "")].append((file, dataset))
    for uid, datasets in members.items():
        _add_series(content, folder, uid, datasets)
    content.series.sort(key=lambda series: (series.number is None, series.number or 0, series.description, series.uid))
    if content.series:
        _check_no_file_left_out(content, files, found)
    return content


def _read(file: Path, content: FolderContent) -> Any | None:
    """The header of an image; None for another file, which is noted."""
    import pydicom
    from pydicom.uid import UID

    try:
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(TAGS))
            kind, modality = str(dataset.get("SOPClassUID") or ""), str(dataset.get("Modality") or "")
            is_image = bool(dataset.get("Rows") and dataset.get("Columns"))
            flags = {str(flag).upper() for flag in dataset.get("ImageType") or []}
    except Exception as error:  # pydicom raises errors of many types for damaged headers
        content.problems.append(f"{file}: the DICOM header cannot be read ({_first_line(error)}); copy it again")
        return None
    if not is_image and (not kind or "Image Storage" in UID(kind).name):
        content.problems.append(f"{file}: the DICOM header is damaged or incomplete; copy it again, or remove it")
    elif not is_image or modality in _NO_SCANS:
        content.set_aside.append(f"{file.name}: {modality or UID(kind).name}, not a scan")
    elif flags & set(_OVERVIEWS):
        content.set_aside.append(f"{file.name}: a localizer")
    else:
        return dataset
    return None


def _add_series(content: FolderContent, folder: Path, uid: str, datasets: list[tuple[Path, Any]]) -> None:
    import pydicom

    slices: list[Slice] = []
    problems: list[str] = []
    for file, dataset in datasets:
        try:
            with pydicom.config.disable_value_validation():
                slices += slices_of(dataset, file)
        except InputError as error:
            problems.append(str(error))
        except Exception as error:
            problems.append(f"{file}: the DICOM header is damaged ({_first_line(error)}); copy it again")
    if not slices and all(_has_no_place(dataset) for _, dataset in datasets):
        content.set_aside += [f"{file.name}: a picture without a place in the patient" for file, _ in datasets]
        return
    content.problems += problems
    if slices:
        first = datasets[0][1]
        number = _text(first, "SeriesNumber")
        content.series.append(
            DicomSeries(
                folder,
                uid,
                _text(first, "Modality") or "unknown",
                _text(first, "SeriesDescription"),
                int(number) if number.lstrip("-").isdigit() else None,
                tuple(slices),
            )
        )


def _text(dataset: Any, keyword: str) -> str:
    """An attribute as text; empty if it is missing or malformed."""
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:  # pydicom raises errors of many types
        return ""


def _has_no_place(dataset: Any) -> bool:
    """Whether the image has no position at all: a screen capture, a dose report."""
    return "ImagePositionPatient" not in dataset and "PerFrameFunctionalGroupsSequence" not in dataset


def _check_no_file_left_out(content: FolderContent, files: list[Path], found: list[Path]) -> None:
    """Report files named like slices that are not DICOM: a damaged slice at an end of the series leaves no gap."""
    suffixes = {member.file.suffix.lower() for series in content.series for member in series.slices} - {""}
    for file in files:
        if file in found or file.name.upper() == "DICOMDIR" or is_apple_double(file):
            continue
        if not file.exists() and file.suffix.lower() in {"", *_SUFFIXES, *suffixes}:
            content.problems.append(
                f"{file}: a link to a missing file beside a DICOM series; fetch it, or remove the link"
            )
        elif file.exists() and (file.suffix.lower() in suffixes or not file.stat().st_size):
            content.problems.append(
                f"{file}: in the folder of a DICOM series but not a readable part of it; copy it again, or remove it"
            )


def _start(file: Path) -> bytes:
    """The first 132 bytes of a file; empty if it cannot be read."""
    try:
        with file.open("rb") as content:
            return content.read(132)
    except OSError:
        return b""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
