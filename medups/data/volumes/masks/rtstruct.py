"""DICOM RT structure sets: the outlines of every organ in every slice."""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.volumes.itk import LPS_TO_RAS
from medups.data.volumes.masks.dicom import rows_of_slices, series_of, source_images
from medups.data.volumes.masks.organs import organ
from medups.data.volumes.volume import Volume
from medups.errors import InputError

_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "SpecificCharacterSet",
)  # fmt: skip


def rtstruct_bytes(ids: NDArray[np.uint8], scan: Volume, labels: LabelSet) -> bytes | None:
    """A structure set with one region for every organ in the mask.

    Outlines run half a voxel outside the centers of border voxels, so that the voxels whose centers are inside are
    those of the mask. Holes are outlines of their own, combined by exclusive or. Returns None for a mask without any
    organ.

    Raises:
        InputError: a scan that is no DICOM series, or one whose slices are frames of one file.
    """
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    import medups

    series = series_of(scan, "RT structure set")
    if not ids.any():
        return None
    if any(member.frame is not None for member in series.slices):
        raise InputError(f"{scan.source}: an RT structure set needs one file for each slice; write a DICOM SEG")
    with pydicom.config.disable_value_validation():
        sources = source_images(scan, series)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = _SOP_CLASS, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        result = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        for keyword in _STUDY:
            if keyword in sources[0]:
                setattr(result, keyword, sources[0][keyword].value)
        now = datetime.datetime.now()
        result.SOPClassUID, result.SOPInstanceUID = _SOP_CLASS, meta.MediaStorageSOPInstanceUID
        result.Modality, result.SeriesInstanceUID = "RTSTRUCT", generate_uid()
        result.SeriesNumber = int(sources[0].get("SeriesNumber") or 0) + 1001
        result.SeriesDescription, result.Manufacturer, result.SoftwareVersions = "medups", "medups", medups.__version__
        result.StructureSetLabel, result.ApprovalStatus = "medups", "UNAPPROVED"
        result.StructureSetDate = result.InstanceCreationDate = f"{now:%Y%m%d}"
        result.StructureSetTime = result.InstanceCreationTime = f"{now:%H%M%S}"
        result.ReferencedFrameOfReferenceSequence = [_frame_of_reference(sources)]
        _add_regions(result, rows_of_slices(ids, series), scan, series.rows, sources, labels)
        buffer = io.BytesIO()
        result.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _add_regions(
    result: Any, slices: NDArray[np.uint8], scan: Volume, rows: tuple[int, ...], sources: list[Any], labels: LabelSet
) -> None:
    result.StructureSetROISequence, result.ROIContourSequence, result.RTROIObservationsSequence = [], [], []
    affine = LPS_TO_RAS @ scan.affine
    for number, label in labels.organs.items():
        about = organ(label, number)
        contours = [
            contour
            for image, row, source in zip(slices, rows, sources, strict=True)
            for contour in _contours(image == number, row, affine, source)
        ]
        if not contours:
            continue
        frame = sources[0].FrameOfReferenceUID
        result.StructureSetROISequence.append(
            _dataset(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=frame,
                ROIName=about.name,
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        result.ROIContourSequence.append(
            _dataset(ROIDisplayColor=list(about.color), ContourSequence=contours, ReferencedROINumber=number)
        )
        result.RTROIObservationsSequence.append(
            _dataset(
                ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="ORGAN", ROIInterpreter=""
            )
        )


def _contours(mask: NDArray[np.bool_], row: int, affine: NDArray[np.float64], source: Any) -> list[Any]:
    """The outlines of a mask [rows, columns] in millimeters."""
    if not mask.any():
        return []
    lines: Any = contour_generator(z=np.pad(mask, 1).astype(np.float64)).lines(0.5)
    holes = len(lines) > 1 and any(_area(line) * _area(lines[0]) < 0 for line in lines)
    contours = []
    for line in lines:
        points = np.column_stack([line[:-1] - 1, np.full(len(line) - 1, row), np.ones(len(line) - 1)])
        millimeters = (points @ affine.T)[:, :3].round(3)
        contours.append(
            _dataset(
                ContourImageSequence=[
                    _dataset(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
                ],
                ContourGeometricType="CLOSEDPLANAR_XOR" if holes else "CLOSED_PLANAR",
                NumberOfContourPoints=len(millimeters),
                ContourData=[f"{value:g}" for value in millimeters.ravel()],
            )
        )
    return contours


def _area(line: NDArray[np.float64]) -> float:
    """Signed, so that outlines and holes, which run in opposite directions, differ in sign."""
    x, y = line.T
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))


def _frame_of_reference(sources: list[Any]) -> Any:
    images = [
        _dataset(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID) for one in sources
    ]
    series = _dataset(SeriesInstanceUID=sources[0].SeriesInstanceUID, ContourImageSequence=images)
    study = _dataset(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=sources[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _dataset(FrameOfReferenceUID=sources[0].FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _dataset(**attributes: Any) -> Any:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset
