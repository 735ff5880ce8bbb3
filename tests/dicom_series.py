"""DICOM series that tests write: with SimpleITK, and edited with pydicom."""

from __future__ import annotations

import locale
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian

SHAPE = (6, 9, 7)  # slices, rows, columns
SPACING = (0.7, 0.9, 2.5)  # along columns, rows, slices


@contextmanager
def kept_locale() -> Iterator[None]:
    """Undo what GDCM does when it writes: it sets the locale of the process to C, which makes ASCII of text files."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def voxels_of(shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(3).integers(-1000, 2000, shape).astype(np.int16)


def write_series(
    folder: Path,
    angle: float = 0.0,
    uid: str = "1.2.3",
    missing: tuple[int, ...] = (),
    tags: dict[str, str] | None = None,
    voxels: np.ndarray | None = None,
    compressor: str | None = None,
) -> np.ndarray:
    """A CT series of known voxels [slices, rows, columns]; ``angle`` tips it about the left-right axis."""
    folder.mkdir(exist_ok=True, parents=True)
    voxels = voxels_of() if voxels is None else voxels
    down = np.array([0, np.cos(angle), np.sin(angle)])
    along = np.array([0, -np.sin(angle), np.cos(angle)])
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    if compressor is not None:
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
    for number in range(len(voxels)):
        if number in missing:
            continue
        image = sitk.GetImageFromArray(voxels[number][None])
        image.SetSpacing(SPACING)
        position = np.array([-30, 20, 100]) + along * SPACING[2] * number
        for tag, value in {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0020|000d": f"{uid}.1",
            "0020|000e": uid,
            "0020|0052": f"{uid}.2",
            "0008|0018": f"{uid}.{number + 10}",
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(f"{v:.6f}" for v in position),
            "0020|0037": "\\".join(f"{v:.6f}" for v in (1, 0, 0, *down)),
            "0028|1052": "0",
            "0028|1053": "1",
            **(tags or {}),
        }.items():
            image.SetMetaData(tag, value)
        # file names in reverse order of the slices
        writer.SetFileName(str(folder / f"{uid}-{99 - number}.dcm"))
        with kept_locale():
            writer.Execute(image)
    return voxels


def edit(folder: Path, change, syntax=None) -> None:
    """Apply ``change`` to the dataset of every file, and store it in another transfer syntax if one is given."""
    for file in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(file)
        change(dataset)
        if syntax is not None and syntax.is_compressed:
            dataset.compress(syntax, encoding_plugin="pydicom" if "RLE" in syntax.name else "pyjpegls")
        elif syntax is not None:
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(file, enforce_file_format=True)


def write_enhanced(file: Path, order: list[int]) -> np.ndarray:
    """A multi-frame CT of :func:`voxels_of`, its slices in ``order``, every frame with a slope of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    voxels = voxels_of()
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.9"
    dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "CT"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = *SHAPE[1:], len(order)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1

    def group(**items):
        outer = Dataset()
        for name, attributes in items.items():
            inner = Dataset()
            for keyword, value in attributes.items():
                setattr(inner, keyword, value)
            setattr(outer, name, Sequence([inner]))
        return outer

    dataset.SharedFunctionalGroupsSequence = Sequence(
        [
            group(
                PixelMeasuresSequence={"PixelSpacing": [0.9, 0.7], "SliceThickness": 2.5},
                PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            )
        ]
    )
    slopes = [1 + 0.5 * index for index in range(len(order))]
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        [
            group(
                PlanePositionSequence={"ImagePositionPatient": [-30, 20, 100 + 2.5 * row]},
                PixelValueTransformationSequence={
                    "RescaleSlope": slope,
                    "RescaleIntercept": -1000,
                    "RescaleType": "HU",
                },
            )
            for row, slope in zip(order, slopes, strict=True)
        ]
    )
    dataset.PixelData = voxels[order].astype("<i2").tobytes()
    dataset.save_as(file, enforce_file_format=True)
    scale = np.empty(SHAPE[0])
    scale[order] = slopes
    return voxels * scale[:, None, None] - 1000
