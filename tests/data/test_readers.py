"""Readers accept intact files and refuse others with a reason."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from medups.data.labels import label_set
from medups.data.volumes import Volume, on_grid_of
from medups.data.volumes.find import find_scans, scans_by_key
from medups.data.volumes.nifti import nifti_file_bytes, read_nifti
from medups.data.volumes.read import read_labels, read_scan
from medups.errors import InputError
from medups.io.files import write_bytes
from tests.scans import write_nifti

AFFINE = np.array([[-0.8, 0, 0, 90], [0, 0.8, 0, -50], [0, 0, 3, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def volume(rng):
    return rng.integers(-1000, 1000, (12, 10, 8)).astype(np.int16)


@pytest.fixture
def path(volume, tmp_path):
    write_nifti(tmp_path / "scan.nii.gz", volume, AFFINE)
    return tmp_path / "scan.nii.gz"


def test_round_trip_matches_nibabel(volume, path):
    reference = nib.load(path)
    result = read_nifti(path)
    np.testing.assert_array_equal(result.data, volume)
    np.testing.assert_array_equal(np.asanyarray(reference.dataobj), volume)
    np.testing.assert_allclose(result.affine, AFFINE)
    np.testing.assert_allclose(reference.affine, AFFINE)
    assert reference.get_data_dtype() == np.int16
    assert result.spacing == pytest.approx((0.8, 0.8, 3))


def test_same_content_same_bytes(volume, path, tmp_path):
    write_nifti(tmp_path / "other.nii.gz", volume, AFFINE)
    assert (tmp_path / "other.nii.gz").read_bytes() == path.read_bytes()


def test_scaled_files(volume, tmp_path):
    image = nib.Nifti1Image(volume.astype(np.float32), AFFINE)
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "scaled.nii")
    np.testing.assert_allclose(read_scan(tmp_path / "scaled.nii").data, nib.load(tmp_path / "scaled.nii").get_fdata())


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.95, 0.999])
def test_truncated_gzip(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_scan(path)


def test_every_flipped_byte_is_detected(path):
    content = bytearray(path.read_bytes())
    for position in range(30, len(content), max(1, len(content) // 25)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="truncated or damaged"):
            read_scan(path)


def test_truncated_uncompressed_file(volume, tmp_path):
    path = tmp_path / "scan.nii"
    write_nifti(path, volume, AFFINE)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="the file is truncated: 1000 bytes found, 2272 expected"):
        read_scan(path)


def test_files_that_are_not_scans(tmp_path, volume):
    text = tmp_path / "text.nii.gz"
    text.write_bytes(gzip.compress(b"hello" * 200))
    with pytest.raises(InputError, match="not a NIfTI file"):
        read_scan(text)
    for name, data, message in [
        ("four.nii.gz", np.zeros((4, 4, 4, 2), np.int16), "expected a 3-D volume, found 4 axes"),
        ("constant.nii.gz", np.full((4, 4, 4), 7, np.int16), "all voxels have the value 7"),
        ("nan.nii.gz", np.where(volume > 900, np.nan, volume).astype(np.float32), "not finite"),
    ]:
        nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / name)
        with pytest.raises(InputError, match=message):
            read_scan(tmp_path / name)
    nib.save(nib.Nifti1Image(volume[..., None], AFFINE), tmp_path / "trailing.nii.gz")
    assert read_scan(tmp_path / "trailing.nii.gz").data.shape == volume.shape


def test_label_values(tmp_path):
    labels = np.zeros((4, 4, 4))
    labels[1] = 3
    labels[2] = 13
    write_nifti(tmp_path / "floats.nii.gz", labels, AFFINE)
    assert read_labels(tmp_path / "floats.nii.gz", label_set("btcv13")).data.dtype == np.int32
    with pytest.raises(InputError, match=r"\[13\] are not in the set 'synapse8'"):
        read_labels(tmp_path / "floats.nii.gz", label_set("synapse8"))
    labels[3] = 0.5
    write_nifti(tmp_path / "fractions.nii.gz", labels, AFFINE)
    with pytest.raises(InputError, match="whole numbers"):
        read_labels(tmp_path / "fractions.nii.gz", label_set("btcv13"))


def test_masks_are_reoriented_but_never_shifted(volume):
    image = Volume(volume, AFFINE, "image")
    turned = volume[::-1].transpose(2, 0, 1)
    flip = AFFINE.copy()
    flip[:, 0], flip[:3, 3] = -AFFINE[:, 0], AFFINE[:3, 3] + AFFINE[:3, 0] * (volume.shape[0] - 1)
    mask = Volume(turned, flip[:, [2, 0, 1, 3]], "mask")
    np.testing.assert_array_equal(on_grid_of(mask, image).data, volume)
    shifted = AFFINE.copy()
    shifted[2, 3] += 1
    with pytest.raises(InputError, match="mask: its affine places voxels elsewhere than image"):
        on_grid_of(Volume(volume, shifted, "mask"), image)
    with pytest.raises(InputError, match="differs from"):
        on_grid_of(Volume(volume[:-1], AFFINE, "mask"), image)


@pytest.mark.parametrize("qform", [0, 1])
def test_zero_spacing(volume, tmp_path, qform):
    """nibabel silently reads it as 1 mm."""
    image = nib.Nifti1Image(volume, AFFINE)
    image.set_sform(None, 0)
    image.set_qform(AFFINE, qform)
    content = bytearray(image.to_bytes())
    content[76 + 4 * 3 : 76 + 4 * 4] = np.float32(0).tobytes()  # pixdim[3]
    (tmp_path / "flat.nii").write_bytes(content)
    assert nib.load(tmp_path / "flat.nii").header.get_zooms()[2] == 1
    with pytest.raises(InputError, match=r"flat.nii: expected a spacing above zero, found \[0.8.*, 0.8.*, 0.0\] mm"):
        read_scan(tmp_path / "flat.nii")


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["ph_001_0000", "ph_002_0000"], ["ph_001", "ph_002"]),  # nnU-Net's only channel
        (["site_0000", "site_0001"], ["site_0000", "site_0001"]),  # numbers from zero
    ],
)
def test_keys_that_pair_scans(path, tmp_path, names, keys):
    for name in names:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.nii.gz").write_bytes(path.read_bytes())
    assert list(scans_by_key(tmp_path / "in")) == keys


@pytest.mark.parametrize("ending", ["scan.nrrd", "scan.mha", "scan.mhd", "scan.nhdr", "scan.hdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_other_formats_give_the_voxels_and_affine_of_nifti(volume, path, tmp_path, ending, compressed):
    """SimpleITK wrote the file from the NIfTI scan; damage of its voxels is an error."""
    import SimpleITK as sitk

    oblique = AFFINE.copy()
    oblique[:3, :3] = [[-0.8, 0.1, 0], [0.1, 0.8, 0], [0, 0, 3]] @ np.diag([1, 1, 1.0])
    oblique[:3, :3] /= np.linalg.norm(oblique[:3, :3], axis=0) / [0.8, 0.8, 3]
    write_nifti(path, volume, oblique)
    target = tmp_path / "other" / ending
    target.parent.mkdir()
    if ending == "scan.hdr":
        nib.save(nib.Nifti1Pair(volume, oblique), target)
    else:
        sitk.WriteImage(sitk.ReadImage(str(path)), str(target), compressed)
    reference, result = read_scan(path), read_scan(target)
    np.testing.assert_array_equal(result.data, reference.data)
    np.testing.assert_allclose(result.affine, reference.affine, atol=1e-5)
    assert [scan.name for scan in find_scans(target.parent).scans] == ["scan"]
    voxels = max(target.parent.iterdir(), key=lambda file: file.stat().st_size)
    content = voxels.read_bytes()
    voxels.write_bytes(content[:-30])
    with pytest.raises(InputError, match="truncated"):
        read_scan(target)
    if compressed and ending != "scan.hdr":
        flipped = bytearray(content)
        flipped[-len(content) // 3] ^= 4
        voxels.write_bytes(flipped)
        with pytest.raises(InputError, match="truncated or damaged"):
            read_scan(target)


def test_colors_and_four_axes_in_other_formats(tmp_path):
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4, 4, 3), np.uint8), isVector=True), str(tmp_path / "rgb.nrrd"))
    with pytest.raises(InputError, match="expected one number per voxel, found 3"):
        read_scan(tmp_path / "rgb.nrrd")
    sitk.WriteImage(
        sitk.GetImageFromArray(np.zeros((2, 4, 4, 4), np.uint8), isVector=False), str(tmp_path / "time.mha")
    )
    with pytest.raises(InputError, match="expected a 3-D volume, found 4 axes"):
        read_scan(tmp_path / "time.mha")


def test_transforms_that_disagree(volume, tmp_path):
    """medups reads the sform, says so, and a mask has both as they were."""
    image = nib.Nifti1Image(volume, AFFINE)
    other = AFFINE.copy()
    other[0, 3] += 30
    image.set_sform(AFFINE, 2)
    image.set_qform(other, 1)
    nib.save(image, tmp_path / "scan.nii.gz")
    scan = read_scan(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(scan.affine, AFFINE)
    assert "sform and qform place voxels up to 30.0 mm apart" in scan.warnings[0]
    write_bytes(tmp_path / "mask.nii.gz", nifti_file_bytes(tmp_path / "mask.nii.gz", volume, scan.affine, scan.header))
    mask, original = nib.load(tmp_path / "mask.nii.gz").header, nib.load(tmp_path / "scan.nii.gz").header
    for name in ("sform_code", "qform_code", "srow_x", "qoffset_x", "quatern_b", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(mask[name], original[name])


@pytest.mark.parametrize(("unit", "scale"), [("meter", 1e-3), ("micron", 1e3), ("unknown", 1)])
def test_units(volume, tmp_path, unit, scale):
    stored = AFFINE.copy()
    stored[:3] *= scale
    image = nib.Nifti1Image(volume, stored)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "scan.nii.gz")
    scan = read_scan(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(scan.affine, AFFINE, rtol=1e-6, atol=1e-6)
    again = tmp_path / "mask.nii.gz"
    write_bytes(again, nifti_file_bytes(again, volume, scan.affine, scan.header))
    np.testing.assert_allclose(nib.load(again).affine, nib.load(tmp_path / "scan.nii.gz").affine)
    assert nib.load(again).header.get_xyzt_units()[0] == unit


def test_headers_that_nibabel_cannot_parse(volume, tmp_path):
    """Cut, with a slope but no intercept, dimensions beyond the index type, or no start of the voxels."""
    path = tmp_path / "scan.nii"
    write_nifti(path, volume, AFFINE)
    content = bytearray(path.read_bytes())

    def changed(at, value):
        result = bytearray(content)
        result[at : at + len(value)] = value
        path.write_bytes(result)

    path.write_bytes(content[:346] + b"+1\x00")
    with pytest.raises(InputError, match=r"scan.nii: (not a NIfTI|the NIfTI header is damaged|the file is truncated)"):
        read_scan(path)
    for intercept in (np.nan, np.inf):
        changed(112, np.float32([2, intercept]).tobytes())
        with pytest.raises(InputError, match="the NIfTI header is damaged"):
            read_scan(path)
    changed(40, np.int16([3, 32767, 32767, 32767, 1, 1, 1, 1]).tobytes())
    with pytest.raises(InputError, match="the file is truncated"):
        read_scan(path)
    changed(40, np.int16([3, -5, 10, 8, 1, 1, 1, 1]).tobytes())
    with pytest.raises(InputError):
        read_scan(path)
    changed(108, np.float32(0).tobytes())
    np.testing.assert_array_equal(read_scan(path).data, volume)


def test_grids_turned_by_45_degrees(volume):
    """A rounding error decides which axis is nearest to left; the two must still be the same grid."""
    half = np.sqrt(0.5)
    turned = np.array([[-half, -half, 0, 0], [half, -half, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    for error in (1e-7, -1e-7):
        other = turned.copy()
        other[0, 0] += error
        other[:3, 3] += 0.002
        mask = on_grid_of(Volume(volume, other, "mask"), Volume(volume, turned, "image"))
        np.testing.assert_array_equal(mask.data, volume)


def test_meta_images_of_other_programs(tmp_path):
    """MET_LONG has four bytes, tabs separate numbers, and lines may be empty."""
    values = np.arange(24, dtype=np.int32)
    header = "NDims = 3\n\nDimSize =\t2 3 4\nElementType = MET_LONG\nElementSpacing = 1 1 2\nElementDataFile = Local\n"
    path = tmp_path / "scan.mha"
    path.write_bytes(header.encode() + values.tobytes())
    assert (read_scan(path).data.ravel(order="F") == values).all()
