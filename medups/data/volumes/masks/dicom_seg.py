"""DICOM Segmentation objects, written with highdicom."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.volumes.masks.dicom import rows_of_slices, series_of, source_images
from medups.data.volumes.masks.organs import Organ, organ
from medups.data.volumes.volume import Volume
from medups.errors import InputError

_CIELAB_WHITE = 65535


def dicom_seg_bytes(ids: NDArray[np.uint8], scan: Volume, labels: LabelSet) -> bytes | None:
    """A DICOM SEG file with one binary segment for every organ in the mask; it refers to the images of the series.

    Returns None for a mask without any organ.

    Raises:
        InputError: a scan that is no DICOM series, or highdicom is not installed.
    """
    try:
        import highdicom as hd
    except ImportError as error:
        raise InputError("DICOM SEG needs highdicom: pip install highdicom") from error
    import pydicom

    import medups

    series = series_of(scan, "DICOM SEG")
    slices = rows_of_slices(ids, series)
    present = [(number, label) for number, label in labels.organs.items() if (slices == number).any()]
    if not present:
        return None
    table = np.zeros(256, dtype=np.uint8)
    table[[number for number, _ in present]] = np.arange(1, len(present) + 1)
    with pydicom.config.disable_value_validation():
        sources = source_images(scan, series)
        frames = table[slices]
        if len(sources) == 1 and len(series.slices) > 1:
            frames = _in_file_order(frames, [member.frame or 0 for member in series.slices])
        segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(hd, index, organ(label, number), medups.__version__)
                for index, (number, label) in enumerate(present, start=1)
            ],
            series_instance_uid=hd.UID(),
            series_number=int(sources[0].get("SeriesNumber") or 0) + 1000,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="medups",
            manufacturer_model_name="medups",
            software_versions=medups.__version__,
            device_serial_number="0",
            content_label="SEGMENTATION",
            series_description="medups segmentation",
        )
        buffer = io.BytesIO()
        segmentation.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _in_file_order(frames: NDArray[np.uint8], order: list[int]) -> NDArray[np.uint8]:
    """Frames of sorted slices in the order of the multi-frame file."""
    result = np.zeros((max(order) + 1, *frames.shape[1:]), dtype=frames.dtype)
    result[order] = frames
    return result


def _description(hd: Any, number: int, about: Organ, version: str) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    code = Code(about.code[0], "SCT", about.code[1]) if about.code else Code(about.name[:16], "99MEDUPS", about.name)
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=about.name,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=code,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="medups", version=version, family=codes.DCM.ArtificialIntelligence
        ),
    )
    if about.side is not None:
        side = codes.SCT.Left if about.side == "left" else codes.SCT.Right
        modifier = Dataset()
        modifier.CodeValue, modifier.CodingSchemeDesignator, modifier.CodeMeaning = side.value, "SCT", side.meaning
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = Sequence([modifier])
    described.RecommendedDisplayCIELabValue = _cielab(about.color)
    return described


def _cielab(color: tuple[int, int, int]) -> list[int]:
    """sRGB as DICOM stores CIELab: three 16-bit numbers."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in color)]
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    lightness, a, b = 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
    scaled = (lightness / 100, (a + 128) / 255, (b + 128) / 255)
    return [round(min(max(value, 0.0), 1.0) * _CIELAB_WHITE) for value in scaled]
