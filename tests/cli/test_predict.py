"""``medups predict``: its output and the input that it refuses."""

from __future__ import annotations

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest

from medups.data.volumes.masks import labels_file
from tests.cli.commands import medups
from tests.scans import write_nifti


def test_predict_accepts_a_split_and_a_single_file(run, phantoms, tmp_path, capsys):
    folder, _ = run
    model = ["--model", folder / "bundle"]
    assert medups("predict", *model, "--input", phantoms / "img", "--cases", "test", "--output", tmp_path / "t") == 0
    assert [path.name for path in (tmp_path / "t").glob("*.nii.gz")] == ["img0004.nii.gz"]
    before = (tmp_path / "t" / "img0004.nii.gz").stat().st_mtime_ns
    again = ["--input", phantoms / "img", "--cases", "test", "--skip-existing", "--output", tmp_path / "t"]
    assert medups("predict", *model, *again) == 0
    assert (tmp_path / "t" / "img0004.nii.gz").stat().st_mtime_ns == before
    assert "kept 1 existing mask" in capsys.readouterr().out
    assert medups("predict", *model, "--input", phantoms / "img", "--cases", "0009", "--output", tmp_path / "t") == 2
    for output in ("one.nrrd", "one.NII.GZ"):
        wrong = ["--input", phantoms / "img" / "img0001.nii.gz", "--output", tmp_path / output]
        assert medups("predict", *model, *wrong) == 2
        assert "masks are written as .nii or .nii.gz" in capsys.readouterr().err
    assert medups("predict", *model, *wrong[:-1], tmp_path / "one.nii", "--device", "meta") == 2
    single = ["--input", phantoms / "img" / "img0001.nii.gz", "--output", tmp_path / "one.nii"]
    assert medups("predict", *model, *single) == 0
    assert nib.load(tmp_path / "one.nii").get_data_dtype() == np.uint8


def test_a_mask_never_replaces_its_scan(run, phantoms, tmp_path, capsys):
    folder, _ = run
    scan = tmp_path / "img0001.nii.gz"
    shutil.copy(phantoms / "img" / "img0001.nii.gz", scan)
    before = scan.read_bytes()
    for output in (scan, tmp_path):
        assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", output) == 2
        assert "the mask would overwrite the scan" in capsys.readouterr().err
    assert scan.read_bytes() == before
    assert list(tmp_path.iterdir()) == [scan]


def damaged(folder, phantoms):
    """Write invalid scans, named after their defects; return the folder."""
    folder.mkdir()
    good = (phantoms / "img" / "img0001.nii.gz").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    (folder / "cut.nii.gz").write_bytes(good[: len(good) // 2])
    (folder / "flipped.nii.gz").write_bytes(flipped)
    (folder / "text.nii.gz").write_text("not an image")
    (folder / "packed.nii.gz").write_bytes(gzip.compress(b"x" * 1000))
    write_nifti(folder / "four.nii.gz", np.zeros((4, 4, 4, 2), np.int16), np.eye(4))
    write_nifti(folder / "nan.nii.gz", np.full((4, 4, 4), np.nan, np.float32), np.eye(4))
    write_nifti(folder / "constant.nii.gz", np.ones((4, 4, 4), np.int16), np.eye(4))
    (folder / "empty").mkdir()
    return folder


BAD_SCANS = [
    "cut.nii.gz",
    "flipped.nii.gz",
    "text.nii.gz",
    "packed.nii.gz",
    "four.nii.gz",
    "nan.nii.gz",
    "constant.nii.gz",
]


@pytest.mark.parametrize("name", [*BAD_SCANS, "empty", "nowhere"])
def test_bad_scans(run, phantoms, tmp_path, capsys, name):
    folder, _ = run
    scan = damaged(tmp_path / "in", phantoms) / name
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert str(scan) in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_one_bad_scan_stops_the_command_before_any_prediction(run, phantoms, tmp_path, capsys):
    folder, _ = run
    shutil.copytree(phantoms / "img", tmp_path / "in")
    for number in (2, 3):
        path = tmp_path / "in" / f"img000{number}.nii.gz"
        path.write_bytes(path.read_bytes()[:-500])
    assert (
        medups("predict", "--model", folder / "bundle", "--input", tmp_path / "in", "--output", tmp_path / "out") == 2
    )
    error = capsys.readouterr().err
    assert "img0002" in error
    assert "img0003" in error
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_weights(run, phantoms, tmp_path, capsys):
    folder, _ = run
    shutil.copytree(folder / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "models" / "model.pt").unlink()
    scan = phantoms / "img" / "img0001.nii.gz"
    assert medups("predict", "--model", tmp_path / "bundle", "--input", scan, "--output", tmp_path / "o") == 2
    assert "without weights" in capsys.readouterr().err


def test_a_failure_at_run_time_gives_exit_code_1(run, phantoms, tmp_path, capsys, monkeypatch):
    """The disk fills up while the mask is written."""
    folder, _ = run

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medups.io.files.os.fsync", full)
    scan, out = phantoms / "img" / "img0001.nii.gz", tmp_path / "out"
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", out) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not any(path.is_file() for path in out.rglob("*"))
    monkeypatch.undo()
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", out) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    labels_file(out / "img0001.nii.gz").write_text('{"1": "another"}')  # the table of another model
    before[labels_file(out / "img0001.nii.gz")] = b'{"1": "another"}'
    monkeypatch.setattr("medups.io.files.os.fsync", full)
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", out) == 1
    assert {path: path.read_bytes() for path in out.iterdir()} == before
