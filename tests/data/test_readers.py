"""Readers accept intact files and refuse others with a reason."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from medups.data.labels import label_set
from medups.data.volumes import Volume, on_grid_of
from medups.data.volumes.find import find_scans, scans_by_key
from medups.data.volumes.nifti import read_nifti
from medups.data.volumes.read import read_labels, read_scan
from medups.errors import InputError
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


def test_folders(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_scans(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no scans in this folder"):
        find_scans(tmp_path)


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
