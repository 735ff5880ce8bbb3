"""Every scan below a folder is found or reported."""

from __future__ import annotations

import shutil
import stat
import zipfile

import numpy as np
import pytest

from medups.data.volumes.find import find_scans, scans_by_key
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from tests.dicom_series import write_series
from tests.scans import write_nifti


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "made" / "scan.nii.gz"
    write_nifti(path, np.random.default_rng(0).integers(-1000, 1000, (5, 4, 3)).astype(np.int16), np.eye(4))
    return path


def names(path, **options):
    found = find_scans(path, **options)
    assert not found.problems
    return [scan.name for scan in found.scans]


def test_scans_at_every_depth(tmp_path, scan):
    folder = tmp_path / "in"
    for place in ("template.nii.gz", "sub-01/anat/sub-01.nii", "sub 2/ct.nii.gz", ".hidden.nii.gz", ".git/x.nii.gz"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, folder / place)
    write_series(folder / "patient" / "study", uid="1.2.3")
    write_series(folder / "patient" / "study" / "second", uid="1.2.4")
    found = ["patient_study", "patient_study_second", "sub 2_ct", "sub-01_anat_sub-01", ".hidden", "template"]
    assert sorted(names(folder)) == sorted(found)
    with pytest.raises(InputError, match=r"ct.nii.gz: below a folder in"):
        scans_by_key(folder)


def test_series_of_one_folder_are_scans_of_their_own(tmp_path):
    write_series(tmp_path, uid="1.2.3", tags={"0008|103e": "Thorax B70f/1", "0020|0011": "2"})
    write_series(tmp_path, uid="1.2.4", tags={"0008|103e": "Abdomen", "0020|0011": "1"})
    assert names(tmp_path) == [f"{tmp_path.name}_1_Abdomen", f"{tmp_path.name}_2_Thorax_B70f_1"]
    assert names(tmp_path, series="abdomen") == [f"{tmp_path.name}_1_Abdomen"]
    assert "no DICOM series 'liver'" in find_scans(tmp_path, series="liver").problems[0]
    with pytest.raises(InputError, match="several DICOM series"):
        scans_by_key(tmp_path)


@pytest.mark.parametrize("end", [0, 300])
def test_a_series_with_a_damaged_slice_is_not_read_in_part(tmp_path, scan, end):
    """Not even without the last slice, which leaves no gap; other folders are."""
    write_series(scan.parent / "series")
    last = sorted((scan.parent / "series").iterdir())[0]
    last.write_bytes(last.read_bytes()[:end])
    found = find_scans(scan.parent)
    assert [one.name for one in found.scans] == ["scan"]
    assert len(found.problems) == 1
    assert last.name in found.problems[0]


@pytest.mark.parametrize("name", ["b.nii.gz", "b.nrrd", "b.dcm"])
def test_links_to_missing_files_are_reported(tmp_path, scan, name):
    (scan.parent / name).symlink_to("/nowhere")
    assert f"{name}: a link to a missing file" in find_scans(scan.parent).problems[0]


def test_loops_of_links_end(tmp_path, scan):
    (scan.parent / "loop").symlink_to(scan.parent)
    (scan.parent / "self").symlink_to(scan.parent / "self")
    assert names(tmp_path) == ["made_scan"]
    assert names(scan.parent) == ["scan"]  # the loop leads to the folder that the search began with


def test_files_that_look_like_scans_are_never_skipped(tmp_path, scan):
    for name in ("x.mgz", "y.NII.GZ", "z.img", "z.dcm", "patient/series/1.dcm"):
        file = scan.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"anything")
        assert len(problems := find_scans(scan.parent).problems) == 1
        assert name in problems[0]
        file.unlink()
    (scan.parent / "._scan.nii.gz").write_bytes(bytes([0, 5, 22, 7]) + bytes(120))
    (scan.parent / "report.pdf").write_bytes(b"no scan")
    assert names(scan.parent) == ["scan"]


def test_no_scans(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_scans(tmp_path / "nowhere")
    assert "no scans in this folder" in find_scans(tmp_path).problems[0]


def test_archives(tmp_path, scan):
    """A scan, a series in folders, and damage."""
    voxels = write_series(tmp_path / "tree" / "deep" / "series")
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "one.zip", "w") as archive:
        for file in (tmp_path / "tree").rglob("*.dcm"):
            archive.write(file, file.relative_to(tmp_path / "tree"))
    with zipfile.ZipFile(tmp_path / "in" / "two.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(scan, "a.nii.gz")
        archive.write(scan, "b.nii.gz")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = find_scans(tmp_path / "in", scratch)
    assert [one.name for one in found.scans] == ["one", "two_a", "two_b"]
    np.testing.assert_array_equal(read_scan(found.scans[0]).data, voxels.transpose(2, 1, 0))
    content = (tmp_path / "in" / "two.zip").read_bytes()
    (tmp_path / "in" / "two.zip").write_bytes(content[: len(content) // 2])
    assert "two.zip: the archive is damaged" in find_scans(tmp_path / "in", scratch).problems[0]


def test_archives_write_nothing_outside_their_folder(tmp_path, scan):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.write(scan, "../../escaped.nii.gz")
    assert "would be written outside" in find_scans(tmp_path / "slip.zip", scratch).problems[0]
    link = zipfile.ZipInfo("link.nii.gz")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "is a link" in find_scans(tmp_path / "slip.zip", scratch).problems[0]
    with zipfile.ZipFile(tmp_path / "slip.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.nii", bytes(10**7))
    content = bytearray((tmp_path / "slip.zip").read_bytes())
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")  # the size that the archive promises
    (tmp_path / "slip.zip").write_bytes(content)
    assert "GiB unpacked" in find_scans(tmp_path / "slip.zip", scratch).problems[0]
    assert not any(scratch.rglob("*.nii*"))
