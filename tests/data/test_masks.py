"""Masks in the formats of viewers and archives lie voxel for voxel on the scan, as independent readers see them."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from matplotlib.path import Path as Polygon

from medups.data.labels import LabelSet
from medups.data.volumes import Volume
from medups.data.volumes.dicom import only_series, read_series
from medups.data.volumes.masks import case_files, write_masks
from medups.data.volumes.nifti import nifti_bytes
from medups.errors import InputError
from tests.dicom_series import SHAPE, SPACING, edit, write_enhanced, write_series

LABELS = LabelSet("some", {1: "liver", 4: "left_kidney", 9: "tumor"})
ORIENTATIONS = {
    "axial": ([1, 0, 0], [0, 1, 0], [0, 0, 1]),
    "negated": ([-1, 0, 0], [0, -1, 0], [0, 0, 1]),
    "feet first": ([1, 0, 0], [0, 1, 0], [0, 0, -1]),
    "sagittal": ([0, 1, 0], [0, 0, -1], [-1, 0, 0]),
    "coronal": ([1, 0, 0], [0, 0, -1], [0, 1, 0]),
    "oblique": ([0.96, 0.28, 0], [-0.28 * 0.8, 0.96 * 0.8, 0.6], [0.168, -0.576, 0.8]),
}


def a_mask(shape=SHAPE):
    """Ids [slices, rows, columns]: a ring with a hole, two islands that touch the border, and single voxels."""
    ids = np.zeros(shape, np.uint8)
    ids[1:4, 1:7, 1:6] = 1
    ids[2, 3:5, 3] = 0
    ids[0, 0, 0] = ids[-1, -1, -1] = ids[3, 8, 2] = 4
    ids[2, 7:, 5:] = 4
    return ids


@pytest.fixture(params=ORIENTATIONS)
def scan(request, tmp_path):
    """A series in one of several orientations; its slices are shuffled among the files."""
    row, column, normal = (np.array(axis, float) for axis in ORIENTATIONS[request.param])
    write_series(tmp_path / "series")

    def turn(dataset):
        dataset.ImageOrientationPatient = [*row, *column]
        dataset.ImagePositionPatient = list(
            np.array([-30, 20, 100]) + normal * SPACING[2] * (dataset.InstanceNumber - 1)
        )

    edit(tmp_path / "series", turn)
    return read_series(only_series(tmp_path / "series"))


def physical(image: sitk.Image) -> dict[tuple[float, ...], int]:
    """Ids by place in the patient, in millimeters, of all voxels that are not background."""
    found = sitk.GetArrayFromImage(image)
    return {
        tuple(np.round(image.TransformIndexToPhysicalPoint(index[::-1].tolist()), 2)): int(found[tuple(index)])
        for index in np.argwhere(found)
    }


def expected_places(ids: np.ndarray, scan: Volume) -> dict[tuple[float, ...], int]:
    places = {}
    for index in np.argwhere(ids):
        x, y, z = (scan.affine @ [*index, 1])[:3]
        places[tuple(np.round((-x, -y, z), 2) + 0.0)] = int(ids[tuple(index)])
    return places


def close(first, second):
    """The same ids at the same places, to a hundredth of a millimeter or so."""
    assert len(first) == len(second)
    for (a, one), (b, two) in zip(sorted(first.items()), sorted(second.items()), strict=True):
        np.testing.assert_allclose(a, b, atol=0.03)
        assert one == two


def test_nrrd_and_nifti_in_simpleitk(scan, tmp_path):
    ids = np.ascontiguousarray(a_mask().transpose(2, 1, 0))
    files = case_files(tmp_path, "case", ("nifti", "nrrd"))
    write_masks(files, ids, scan, LABELS)
    for path in files.values():
        close(physical(sitk.ReadImage(str(path))), expected_places(ids, scan))
    image = sitk.ReadImage(str(files["nrrd"]))
    assert [image.GetMetaData(f"Segment{i}_Name") for i in range(3)] == ["liver", "left kidney", "tumor"]
    assert [image.GetMetaData(f"Segment{i}_LabelValue") for i in range(3)] == ["1", "4", "9"]
    assert image.GetMetaData("Segment0_Extent") == "1 5 1 6 1 3"
    assert image.GetMetaData("Segment2_Extent") == "0 -1 0 -1 0 -1"
    color = [float(value) for value in image.GetMetaData("Segment0_Color").split()]
    np.testing.assert_allclose(color, np.array([221, 130, 101]) / 255, atol=1e-5)


def test_dicom_seg_frame_by_frame(scan, tmp_path):
    """Frames are placed by their own headers, read with pydicom alone; the images they refer to are at those places."""
    pytest.importorskip("highdicom")
    ids = np.ascontiguousarray(a_mask().transpose(2, 1, 0))
    files = case_files(tmp_path, "case", ("dicom-seg",))
    write_masks(files, ids, scan, LABELS)
    dataset = pydicom.dcmread(files["dicom-seg"])
    segments = {one.SegmentNumber: one.SegmentLabel for one in dataset.SegmentSequence}
    assert list(segments.values()) == ["liver", "left kidney"]  # DICOM has no segment without voxels
    kidney = dataset.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
    assert kidney.CodeValue == "64033007"
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    numbers = {name.replace(" ", "_"): number for number, name in LABELS.organs.items()}
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames, places = dataset.pixel_array, {}
    sources = {m.uid: m.position for m in scan.header.slices}
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        axes = np.array(
            (shared.get("PlaneOrientationSequence") or group.PlaneOrientationSequence)[0].ImageOrientationPatient, float
        )
        spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
        label = segments[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        for row, column in np.argwhere(frame):
            place = position + axes[:3] * spacing[1] * column + axes[3:] * spacing[0] * row
            places[tuple(np.round(place, 2) + 0.0)] = numbers[label.replace(" ", "_")]
        referred = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        np.testing.assert_allclose(sources[referred], position, atol=1e-3)
    close(places, expected_places(ids, scan))
    assert dataset.SeriesInstanceUID != scan.header.uid
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == scan.header.uid


def test_rtstruct_outlines_hold_exactly_the_voxels(scan, tmp_path):
    """Voxel centers inside the outlines, by matplotlib, exclusive or for holes."""
    ids = np.ascontiguousarray(a_mask().transpose(2, 1, 0))
    files = case_files(tmp_path, "case", ("rtstruct",))
    write_masks(files, ids, scan, LABELS)
    dataset = pydicom.dcmread(files["rtstruct"])
    names = {one.ROINumber: one.ROIName for one in dataset.StructureSetROISequence}
    assert names == {1: "liver", 4: "left kidney"}
    to_voxel = np.linalg.inv(np.diag([-1.0, -1, 1, 1]) @ scan.affine)
    centers = np.stack(np.meshgrid(*map(np.arange, ids.shape[:2]), indexing="ij"), -1).reshape(-1, 2)
    result = np.zeros_like(ids)
    uids = {m.uid: row for m, row in zip(scan.header.slices, scan.header.rows, strict=True)}
    kinds = set()
    for roi in dataset.ROIContourSequence:
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            voxels = (np.column_stack([points, np.ones(len(points))]) @ to_voxel.T)[:, :3]
            row = round(voxels[0, 2])
            np.testing.assert_allclose(voxels[:, 2], row, atol=1e-2)
            assert uids[contour.ContourImageSequence[0].ReferencedSOPInstanceUID] == row
            inside = Polygon(voxels[:, :2]).contains_points(centers).reshape(ids.shape[:2])
            result[..., row] ^= (inside * roi.ReferencedROINumber).astype(np.uint8)
            kinds.add((row, contour.ContourGeometricType))
    np.testing.assert_array_equal(result, ids)
    assert (2, "CLOSEDPLANAR_XOR") in kinds
    assert (1, "CLOSED_PLANAR") in kinds


def test_masks_of_enhanced_and_resampled_series(tmp_path):
    """A frame of a multi-frame file, and the slices that an even grid was interpolated from."""
    pytest.importorskip("highdicom")
    write_enhanced(tmp_path / "enhanced" / "scan.dcm", order=[3, 0, 5, 1, 4, 2])
    scan = read_series(only_series(tmp_path / "enhanced"))
    ids = np.ascontiguousarray(a_mask().transpose(2, 1, 0))
    files = case_files(tmp_path, "enhanced", ("dicom-seg",))
    write_masks(files, ids, scan, LABELS)
    dataset = pydicom.dcmread(files["dicom-seg"])
    for frame, group in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        number = {1: 1, 2: 4}[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        height = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        np.testing.assert_array_equal(frame, (ids[..., round((height - 100) / 2.5)] == number).T)
    with pytest.raises(InputError, match="needs one file for each slice; write a DICOM SEG"):
        write_masks(case_files(tmp_path, "x", ("nifti", "rtstruct")), ids, scan, LABELS)
    assert not (tmp_path / "x.nii.gz").exists()

    write_series(tmp_path / "gap", missing=(3,))
    scan = read_series(only_series(tmp_path / "gap"), resample=True)
    write_masks(files, ids, scan, LABELS)
    heights = {
        float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        for group in pydicom.dcmread(files["dicom-seg"]).PerFrameFunctionalGroupsSequence
    }
    assert heights == {100, 102.5, 105, 112.5}


def test_a_mask_without_organs_and_a_scan_without_series(scan, tmp_path):
    empty = np.zeros(SHAPE[::-1], np.uint8)
    kinds = ("nifti", "nrrd", "dicom-seg", "rtstruct")
    written = write_masks(case_files(tmp_path, "empty", kinds), empty, scan, LABELS)
    assert sorted(path.name for path in written) == ["empty.labels.json", "empty.nii.gz", "empty.seg.nrrd"]
    other = Volume(scan.data, scan.affine, "scan.nii.gz")
    with pytest.raises(InputError, match=r"scan.nii.gz: a DICOM SEG refers to the images of a DICOM series"):
        write_masks(case_files(tmp_path, "no", kinds), empty, other, LABELS)


def test_a_real_anonymized_series(real_data, tmp_path):
    """JPEG 2000, and without most of its identifiers; masks agree with SimpleITK's reading of the series."""
    pytest.importorskip("highdicom")
    folder = real_data / "ct-b" / "dicom"
    scan = read_series(only_series(folder))
    ids = ((scan.data > 150) * 1).astype(np.uint8)
    files = case_files(tmp_path, "case", ("nrrd", "dicom-seg", "rtstruct"))
    write_masks(files, ids, scan, LABELS)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    series = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(series), scan.data.transpose(2, 1, 0))
    mask = sitk.ReadImage(str(files["nrrd"]))
    resampled = sitk.Resample(mask, series, sitk.Transform(), sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(resampled), sitk.GetArrayFromImage(series) > 150)
    dataset = pydicom.dcmread(io.BytesIO(files["dicom-seg"].read_bytes()))
    assert dataset.pixel_array.sum() == ids.sum()
    assert nifti_bytes(ids, scan.affine) == nifti_bytes(ids, scan.affine)
