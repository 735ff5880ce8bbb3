"""DICOM series: complete ones are read with the geometry of their headers, others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medups.data.volumes.dicom import read_dicom
from medups.data.volumes.find import find_scans
from medups.errors import InputError

SHAPE = (6, 9, 7)  # slices, rows, columns
SPACING = (0.7, 0.9, 2.5)  # along columns, rows, slices


def write_series(
    folder: Path,
    angle: float = 0.0,
    uid: str = "1.2.3",
    missing: tuple[int, ...] = (),
    tags: dict[str, str] | None = None,
) -> np.ndarray:
    """A CT series of known voxels; ``angle`` tips it about the left-right axis."""
    folder.mkdir(exist_ok=True, parents=True)
    voxels = np.random.default_rng(3).integers(-1000, 2000, SHAPE).astype(np.int16)
    down = np.array([0, np.cos(angle), np.sin(angle)])
    along = np.array([0, -np.sin(angle), np.cos(angle)])
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(SHAPE[0]):
        if number in missing:
            continue
        image = sitk.GetImageFromArray(voxels[number][None])
        image.SetSpacing(SPACING)
        position = np.array([-30, 20, 100]) + along * SPACING[2] * number
        for tag, value in {
            "0008|0060": "CT",
            "0020|000d": f"{uid}.1",
            "0020|000e": uid,
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
        writer.Execute(image)
    return voxels


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_voxel_positions_match_simpleitk(tmp_path, angle):
    voxels = write_series(tmp_path, angle)
    volume = read_dicom(tmp_path)
    np.testing.assert_array_equal(volume.data, voxels.transpose(2, 1, 0))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    reference = reader.Execute()
    for index in [(0, 0, 0), (6, 8, 5), (2, 0, 3)]:
        x, y, z = reference.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], (-x, -y, z), atol=1e-3)


@pytest.mark.parametrize("missing", [(2,), (1, 2), (2, 4)])
def test_missing_slices(tmp_path, missing):
    write_series(tmp_path, missing=missing)
    with pytest.raises(InputError, match="slices are missing"):
        read_dicom(tmp_path)


def test_headers_with_an_empty_or_invalid_thickness(tmp_path):
    """Only a single slice needs the thickness."""
    voxels = write_series(tmp_path / "empty", tags={"0018|0050": ""})
    np.testing.assert_array_equal(read_dicom(tmp_path / "empty").data, voxels.transpose(2, 1, 0))
    write_series(tmp_path / "words", tags={"0018|0050": "thin"})
    with pytest.raises(InputError, match=r"expected 1 numbers in DICOM tag \(0018,0050\), found 'thin"):
        read_dicom(tmp_path / "words")


def test_zero_pixel_spacing(tmp_path, monkeypatch):
    """The writer refuses such a header, so the test patches the reader."""
    write_series(tmp_path)
    read = sitk.ImageFileReader.GetMetaData

    def flat(reader, tag):
        return "0\\0" if tag == "0028|0030" else read(reader, tag)

    monkeypatch.setattr(sitk.ImageFileReader, "GetMetaData", flat)
    with pytest.raises(InputError, match=r"pixel spacing must be positive, found \[0.0, 0.0\]"):
        read_dicom(tmp_path)


def test_two_series_in_a_folder(tmp_path):
    write_series(tmp_path, uid="1.2.3")
    write_series(tmp_path, uid="1.2.4")
    with pytest.raises(InputError, match="found 2 DICOM series"):
        read_dicom(tmp_path)


def test_truncated_slice(tmp_path):
    write_series(tmp_path)
    file = sorted(tmp_path.iterdir())[2]
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError):
        read_dicom(tmp_path)


@pytest.mark.parametrize("at", [0, 2, -1])
@pytest.mark.parametrize("end", [0, 200, -40])
def test_a_damaged_slice_is_never_skipped(tmp_path, at, end):
    """At either end of the series it would leave no gap. Unrelated files in the folder are ignored."""
    write_series(tmp_path)
    for name in ("notes.txt", "DICOMDIR", ".hidden.dcm"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    (tmp_path / "notes.txt").write_text("of the scanner")
    read_dicom(tmp_path)
    file = sorted(tmp_path.glob("1*.dcm"))[at]
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(InputError, match=file.name):
        read_dicom(tmp_path)


def test_a_color_picture(tmp_path):
    picture = sitk.GetImageFromArray(np.zeros((4, 4, 3), np.uint8), isVector=True)
    sitk.WriteImage(picture, str(tmp_path / "capture.dcm"))
    with pytest.raises(
        InputError, match=r"capture.dcm: expected a slice of one value per pixel, found 3 values per pixel"
    ):
        read_dicom(tmp_path)


def test_a_position_with_two_numbers(tmp_path, monkeypatch):
    write_series(tmp_path)
    read = sitk.ImageFileReader.GetMetaData
    monkeypatch.setattr(
        sitk.ImageFileReader, "GetMetaData", lambda r, tag: "1\\2" if tag == "0020|0032" else read(r, tag)
    )
    with pytest.raises(InputError, match=r"expected 3 numbers in DICOM tag \(0020,0032\)"):
        read_dicom(tmp_path)


def test_files_that_look_like_scans_are_never_skipped(tmp_path):
    write_series(tmp_path / "a", uid="1.2.3")
    for name in ("x.nrrd", "y.NII.GZ", "z.dcm", "patient/series/1.dcm"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"anything")
        with pytest.raises(InputError, match=f"1 entries look like scans and would be left out: {name};"):
            find_scans(tmp_path)
        file.unlink()
    (tmp_path / "patient" / "report.pdf").write_bytes(b"no scan")
    assert find_scans(tmp_path) == [tmp_path / "a"]
    write_series(tmp_path, uid="1.2.5")
    with pytest.raises(InputError, match="6 entries look like scans"):
        find_scans(tmp_path)


def test_each_series_folder_is_one_scan(tmp_path):
    write_series(tmp_path / "a", uid="1.2.3")
    write_series(tmp_path / "b", uid="1.2.4")
    assert find_scans(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_scans(tmp_path / "a") == [tmp_path / "a"]


def test_real_series_with_every_third_slice_missing(real_data, tmp_path):
    files = sorted((real_data / "ct-b" / "dicom").iterdir())
    for file in [f for i, f in enumerate(files) if i not in (5, 9, 14)]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="slices are missing: 17 found"):
        read_dicom(tmp_path)
    assert read_dicom(real_data / "ct-b" / "dicom").data.shape == (512, 512, 20)
