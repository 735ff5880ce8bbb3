"""What DICOM masks share: the images of the series that they refer to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.dicom import DicomSeries
from medups.data.volumes.volume import Volume
from medups.errors import InputError


def series_of(scan: Volume, what: str) -> DicomSeries:
    """The series that the scan was read from. Raises InputError for a scan of another format."""
    if not isinstance(scan.header, DicomSeries):
        raise InputError(f"{scan.source}: a {what} refers to the images of a DICOM series, and this scan is none")
    return scan.header


def source_images(scan: Volume, series: DicomSeries) -> list[Any]:
    """The headers of the series' files, in the order of its slices, completed where anonymization emptied them.

    A file without SOP UIDs gets those of its file header. A series without study or series UID gets new ones, derived
    from its first image, so that all masks of one series agree.
    """
    import pydicom
    from pydicom.uid import generate_uid

    datasets = {}
    for member in series.slices:
        if member.file in datasets:
            continue
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(member.file, force=True, stop_before_pixels=True)
        meta = dataset.file_meta
        dataset.SOPClassUID = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", "")
        dataset.SOPInstanceUID = dataset.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID", "")
        if not dataset.SOPClassUID or not dataset.SOPInstanceUID:
            raise InputError(f"{member.file}: no SOPInstanceUID (0008,0018); a DICOM mask cannot refer to this image")
        datasets[member.file] = dataset
    first = next(iter(datasets.values()))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        own = first.get(keyword) or generate_uid(entropy_srcs=[str(first.SOPInstanceUID), keyword])
        for dataset in datasets.values():
            setattr(dataset, keyword, own)
    for dataset in datasets.values():
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            if keyword not in dataset:
                setattr(dataset, keyword, "")
        for keyword in ("StudyDate", "StudyTime"):
            if keyword not in dataset:
                setattr(dataset, keyword, None)
        if "PerFrameFunctionalGroupsSequence" not in dataset and not dataset.get("SliceThickness"):
            dataset.SliceThickness = f"{scan.spacing[2]:.6g}"
    return list(datasets.values())


def rows_of_slices(ids: NDArray[np.uint8], series: DicomSeries) -> NDArray[np.uint8]:
    """The ids of every slice of the series [slices, rows, columns]."""
    return np.ascontiguousarray(ids.transpose(2, 1, 0)[list(series.rows)])
