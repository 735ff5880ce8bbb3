"""DICOM series: complete ones are read with the geometry of their headers, others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from medups.data.volumes.dicom import only_series, read_series
from medups.errors import InputError
from tests.dicom_series import SHAPE, edit, kept_locale, write_enhanced, write_series


def read_dicom(folder: Path, resample: bool = False):
    return read_series(only_series(folder), resample)


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_voxel_positions_match_simpleitk(tmp_path, angle):
    voxels = write_series(tmp_path, angle)
    volume = read_dicom(tmp_path)
    np.testing.assert_array_equal(volume.data, voxels.transpose(2, 1, 0))
    assert volume.modality == "CT"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    reference = reader.Execute()
    for index in [(0, 0, 0), (6, 8, 5), (2, 0, 3)]:
        x, y, z = reference.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], (-x, -y, z), atol=1e-3)


def test_pixels_match_simpleitk_for_every_syntax(tmp_path):
    """Slope, intercept, 12 stored bits with an overlay in the unused ones, and the syntaxes that pydicom can write."""

    def rescale(dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = "2.5", "-1000"

    voxels = write_series(tmp_path / "plain")
    edit(tmp_path / "plain", rescale)
    reference = read_dicom(tmp_path / "plain").data
    np.testing.assert_array_equal(reference, voxels.transpose(2, 1, 0) * np.float32(2.5) - 1000)
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("rle", RLELossless), ("jls", JPEGLSLossless)):
        write_series(tmp_path / name)
        edit(tmp_path / name, rescale, syntax)
        np.testing.assert_array_equal(read_dicom(tmp_path / name).data, reference)
    for compressor in ("JPEG", "JPEG2000"):
        write_series(tmp_path / compressor, compressor=compressor)
        syntax = pydicom.dcmread(next((tmp_path / compressor).iterdir())).file_meta.TransferSyntaxUID
        assert syntax.is_compressed
        np.testing.assert_array_equal(read_dicom(tmp_path / compressor).data, voxels.transpose(2, 1, 0))
    write_series(tmp_path / "bits")

    def overlay(dataset):
        stored = dataset.pixel_array.astype(np.int32).clip(-2048, 2047)
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = ((stored & 0xFFF) | 0x3000).astype("<u2").tobytes()

    edit(tmp_path / "bits", overlay)
    np.testing.assert_array_equal(read_dicom(tmp_path / "bits").data, voxels.transpose(2, 1, 0).clip(-2048, 2047))


def test_enhanced_frames_in_any_order_and_with_their_own_scale(tmp_path):
    voxels = write_enhanced(tmp_path / "scan.dcm", order=[3, 0, 5, 1, 4, 2])
    volume = read_dicom(tmp_path)
    np.testing.assert_allclose(volume.data, voxels.transpose(2, 1, 0))
    np.testing.assert_allclose(
        volume.affine, np.array([[-0.7, 0, 0, 30], [0, -0.9, 0, -20], [0, 0, 2.5, 100], [0, 0, 0, 1]])
    )
    write_enhanced(tmp_path / "short" / "scan.dcm", order=[3, 0, 5, 1, 4])
    with pytest.raises(InputError, match="slices are missing"):
        read_dicom(tmp_path / "short")


@pytest.mark.parametrize("missing", [(2,), (1, 2), (2, 4)])
def test_missing_slices(tmp_path, missing):
    write_series(tmp_path, missing=missing)
    with pytest.raises(InputError, match="slices are missing"):
        read_dicom(tmp_path)


def test_position_decides_and_not_the_instance_number(tmp_path):
    """Shuffled, interleaved and jumping numbers; positions rounded to a tenth of a millimeter."""
    voxels = write_series(tmp_path)
    for numbers in ([3, 1, 6, 2, 5, 4], [1, 4, 2, 5, 3, 6], [1, 2, 3, 101, 102, 103]):
        edit(
            tmp_path,
            lambda dataset, n=numbers: setattr(
                dataset, "InstanceNumber", n[int(str(dataset.SOPInstanceUID).split(".")[-1]) - 10]
            ),
        )
        np.testing.assert_array_equal(read_dicom(tmp_path).data, voxels.transpose(2, 1, 0))

    def rounded(dataset):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, round(100 + 0.625 * (z - 100) / 2.5, 1)]

    edit(tmp_path, rounded)
    assert read_dicom(tmp_path).spacing[2] == pytest.approx(0.625, abs=0.02)


def test_uneven_slices_are_refused_or_resampled(tmp_path):
    """A ramp along the normal is what linear interpolation reproduces exactly."""
    heights = [0.0, 2.5, 5, 10, 15, 20]
    write_series(tmp_path)

    def uneven(dataset):
        number = dataset.InstanceNumber - 1
        x, y, _ = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, heights[number]]
        dataset.PixelData = np.full(SHAPE[1:], 10 * heights[number], np.int16).tobytes()

    edit(tmp_path, uneven)
    with pytest.raises(InputError, match=r"uneven: 5.00 mm for most of 6, but 2.50 mm after 0.00 mm.*--resample"):
        read_dicom(tmp_path)
    volume = read_dicom(tmp_path, resample=True)
    assert volume.data.shape[2] == 9
    np.testing.assert_allclose(volume.data[0, 0], np.arange(9) * 25, rtol=1e-6)
    assert volume.header.rows == (0, 1, 2, 4, 6, 8)
    assert "3 of them interpolated" in volume.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: setattr(d, "PixelSpacing", [0.9, 0.5]), "pixel spacing"),
        (lambda d: setattr(d, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), "orientation"),
        (lambda d: (d.pop("RescaleSlope"), d.pop("RescaleIntercept")), "rescale slope"),
        (lambda d: setattr(d, "ImagePositionPatient", [-10, 20, d.ImagePositionPatient[2]]), "0 mm beside the line"),
    ],
)
@pytest.mark.parametrize("at", [(2,), (0,), (5,), (3, 4, 5)])
def test_slices_that_do_not_belong_together(tmp_path, change, message, at):
    write_series(tmp_path)
    edit(tmp_path, lambda dataset: change(dataset) if dataset.InstanceNumber - 1 in at else None)
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


def test_a_copied_slice_names_both_files(tmp_path):
    write_series(tmp_path)
    file = sorted(tmp_path.iterdir())[2]
    (tmp_path / "copy.dcm").write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=rf"(copy.dcm.*{file.name}|{file.name}.*copy.dcm)"):
        read_dicom(tmp_path)


def test_headers_with_an_empty_or_invalid_thickness(tmp_path):
    """Only a single slice needs the thickness."""
    voxels = write_series(tmp_path / "empty", tags={"0018|0050": ""})
    np.testing.assert_array_equal(read_dicom(tmp_path / "empty").data, voxels.transpose(2, 1, 0))
    write_series(tmp_path / "words", tags={"0018|0050": "thin"})
    with pytest.raises(
        InputError, match=r"expected 1 numbers in DICOM attribute SliceThickness \(0018,0050\), found 'thin"
    ):
        read_dicom(tmp_path / "words")
    for thickness in ("", "0"):
        write_series(tmp_path / f"one{thickness}", missing=(1, 2, 3, 4, 5), tags={"0018|0050": thickness})
        with pytest.raises(InputError, match=r"needs a slice thickness above 0 in SliceThickness \(0018,0050\)"):
            read_dicom(tmp_path / f"one{thickness}")
    write_series(tmp_path / "one4", missing=(1, 2, 3, 4, 5), tags={"0018|0050": "4"})
    assert read_dicom(tmp_path / "one4").spacing == pytest.approx((0.7, 0.9, 4))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("PixelSpacing", [0, 0], r"pixel spacing must be positive, found \[0.0, 0.0\]"),
        ("ImagePositionPatient", [1, 2], r"expected 3 numbers in DICOM attribute ImagePositionPatient \(0020,0032\)"),
        ("ImageOrientationPatient", None, r"ImageOrientationPatient \(0020,0037\) is missing"),
    ],
)
def test_attributes_that_cannot_be_used(tmp_path, attribute, value, message):
    write_series(tmp_path)
    edit(tmp_path, lambda dataset: setattr(dataset, attribute, value))
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


def test_two_series_in_a_folder(tmp_path):
    write_series(tmp_path, uid="1.2.3", tags={"0008|103e": "Thorax B70f"})
    write_series(tmp_path, uid="1.2.4", tags={"0008|103e": "Abdomen", "0020|0011": "7"})
    with pytest.raises(InputError, match=r"found 2 DICOM series: Abdomen \(number 7, CT, 6 slices\); Thorax B70f"):
        read_dicom(tmp_path)
    for name in ("thorax b70f", "1.2.3"):
        assert only_series(tmp_path, name).uid == "1.2.3"
    assert only_series(tmp_path, "7").uid == "1.2.4"


@pytest.mark.parametrize("at", [0, 2, -1])
@pytest.mark.parametrize("end", [0, 200, 400, 600, 700, -40])
def test_a_damaged_slice_is_never_skipped(tmp_path, at, end):
    """At either end of the series it would leave no gap. Unrelated files in the folder are ignored."""
    write_series(tmp_path)
    for name in ("notes.txt", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"of the scanner")
    (tmp_path / "._notes").write_bytes(bytes([0, 5, 22, 7]) + bytes(200))
    (tmp_path / "missing.txt").symlink_to("/nowhere")
    read_dicom(tmp_path)
    file = sorted(tmp_path.glob("1*.dcm"))[at]
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(InputError, match=file.name):
        read_dicom(tmp_path)


def test_slices_whose_names_begin_with_a_dot_and_links_belong_to_the_series(tmp_path):
    voxels = write_series(tmp_path)
    file = sorted(tmp_path.iterdir())[0]
    file.rename(tmp_path / f".{file.name}")
    np.testing.assert_array_equal(read_dicom(tmp_path).data, voxels.transpose(2, 1, 0))
    (tmp_path / "99.dcm").symlink_to("/nowhere/99.dcm")
    with pytest.raises(InputError, match=r"99.dcm: a link to a missing file"):
        read_dicom(tmp_path)


def test_other_objects_are_set_aside(tmp_path):
    """A structure set, a localizer, a screen capture; alone they are no scan."""
    voxels = write_series(tmp_path)
    slices = sorted(tmp_path.iterdir())

    def add(name, change):
        dataset = pydicom.dcmread(slices[0])
        dataset.SeriesInstanceUID = f"9.9.{len(name)}"
        change(dataset)
        dataset.save_as(tmp_path / name)

    def structures(dataset):
        dataset.Modality, dataset.SOPClassUID = "RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3"
        del dataset.Rows, dataset.Columns, dataset.PixelData

    add("structures.dcm", structures)
    add("scout.dcm", lambda dataset: setattr(dataset, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    add("dose report.dcm", lambda dataset: dataset.pop("ImagePositionPatient"))
    np.testing.assert_array_equal(read_dicom(tmp_path).data, voxels.transpose(2, 1, 0))
    for file in slices:
        file.unlink()
    with pytest.raises(InputError, match=r"no DICOM series: .*scout.dcm: a localizer"):
        read_dicom(tmp_path)


def test_a_color_picture(tmp_path):
    picture = sitk.GetImageFromArray(np.zeros((4, 4, 3), np.uint8), isVector=True)
    with kept_locale():
        sitk.WriteImage(picture, str(tmp_path / "capture.dcm"))
    with pytest.raises(
        InputError, match=r"capture.dcm: (expected one value per pixel, found 3|a picture without a place)"
    ):
        read_dicom(tmp_path)


def test_real_series_with_every_third_slice_missing(real_data, tmp_path):
    files = sorted((real_data / "ct-b" / "dicom").iterdir())
    for file in [f for i, f in enumerate(files) if i not in (5, 9, 14)]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="slices are missing: 17 found"):
        read_dicom(tmp_path)
    whole = read_dicom(real_data / "ct-b" / "dicom")
    assert whole.data.shape == (512, 512, 20)
    bridged = read_dicom(tmp_path, resample=True)
    assert bridged.data.shape == whole.data.shape
    kept = [row for row in range(20) if row in bridged.header.rows]
    np.testing.assert_allclose(bridged.data[..., kept], whole.data[..., kept], atol=1e-2)
    np.testing.assert_allclose(bridged.affine, whole.affine, atol=1e-4)
