"""``medups predict``: its output and the input that it refuses."""

from __future__ import annotations

import csv
import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from medups.data.volumes.masks import labels_file
from tests.cli.commands import medups
from tests.dicom_series import write_series
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
        assert "masks are written as .nii, .nii.gz, .seg.nrrd" in capsys.readouterr().err
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


def test_bad_scans_are_reported_and_the_others_go_on(run, phantoms, tmp_path, capsys):
    """The exit code says so; a repeated command redoes only what is missing, changed or damaged."""
    folder, _ = run
    shutil.copytree(phantoms / "img", tmp_path / "in")
    for number in (2, 3):
        path = tmp_path / "in" / f"img000{number}.nii.gz"
        path.write_bytes(path.read_bytes()[:-500])
    (tmp_path / "in" / "img0009.nii.gz").symlink_to("/nowhere")
    out = tmp_path / "out"
    command = ["predict", "--model", folder / "bundle", "--input", tmp_path / "in", "--output", out]
    assert medups(*command) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert "3 of 5 scans failed, the others are done" in captured.err
    for number in (2, 3, 9):
        assert f"img000{number}" in captured.err
    made = sorted(path.name for path in out.glob("*.nii.gz"))
    assert made == ["img0001.nii.gz", "img0004.nii.gz"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert len(manifest["failed"]) == 3
    assert [case["case"] for case in manifest["cases"]] == ["img0001", "img0004"]
    times = {name: (out / name).stat().st_mtime_ns for name in made}

    for number in (2, 3):
        shutil.copy(phantoms / "img" / f"img000{number}.nii.gz", tmp_path / "in")
    (tmp_path / "in" / "img0009.nii.gz").unlink()
    (out / "img0004.nii.gz").write_bytes((out / "img0004.nii.gz").read_bytes()[:-1])
    assert medups(*command) == 0
    assert "kept 1 existing mask" in capsys.readouterr().out
    assert (out / "img0001.nii.gz").stat().st_mtime_ns == times["img0001.nii.gz"]
    assert nib.load(out / "img0004.nii.gz").get_fdata().shape == nib.load(phantoms / "img" / "img0004.nii.gz").shape
    assert json.loads((out / "manifest.json").read_text())["failed"] == []
    shutil.copy(phantoms / "img" / "img0002.nii.gz", tmp_path / "in" / "img0001.nii.gz")  # another scan, the same name
    (out / "records" / "img0003.json").write_text("{")
    assert medups(*command) == 0
    assert "kept 2 existing masks" in capsys.readouterr().out
    assert medups(*command, "--organs", "liver") == 0
    assert "kept" not in capsys.readouterr().out


def test_an_output_inside_the_input_is_refused(run, phantoms, tmp_path, capsys):
    """The next run would take the masks for scans."""
    folder, _ = run
    shutil.copytree(phantoms / "img", tmp_path / "in")
    for output in (tmp_path / "in", tmp_path / "in" / "masks"):
        assert medups("predict", "--model", folder / "bundle", "--input", tmp_path / "in", "--output", output) == 2
        assert "the output is inside the input" in capsys.readouterr().err
    assert len(list((tmp_path / "in").iterdir())) == 4


def test_what_is_written_about_each_mask(run, phantoms, tmp_path, capsys):
    """Only the chosen organs, their volumes as counted here, and a picture."""
    folder, _ = run
    scan, out = phantoms / "img" / "img0001.nii.gz", tmp_path / "out"
    command = ["predict", "--model", folder / "bundle", "--input", scan]
    assert medups(*command, "--output", tmp_path / "all.nii.gz") == 0
    assert medups(*command, "--output", out, "--organs", "liver,aorta", "--preview", "--formats", "nifti,nrrd",
                  "--uncertainty") == 0  # fmt: skip
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == [
        "img0001.labels.json", "img0001.nii.gz", "img0001.preview.png", "img0001.seg.nrrd",
        "img0001.uncertainty.nii.gz", "manifest.json", "organs.csv",
    ]  # fmt: skip
    label = ["--label", phantoms / "label" / "label0001.nii.gz", "--label-labels", "btcv13", "--output", tmp_path / "e"]
    assert medups("evaluate", "--pred", out, *label) == 0  # other files in the folder of masks are no masks
    everything, chosen = (nib.load(path).get_fdata() for path in (tmp_path / "all.nii.gz", out / "img0001.nii.gz"))
    labels = json.loads((out / "img0001.labels.json").read_text())
    assert sorted(labels.values()) == ["aorta", "liver"]
    np.testing.assert_array_equal(
        chosen, np.where(np.isin(everything, [int(number) for number in labels]), everything, 0)
    )
    rows = {row["organ"]: row for row in csv.DictReader((out / "organs.csv").open())}
    image = nib.load(scan)
    for number, organ in labels.items():
        inside = chosen == int(number)
        assert float(rows[organ]["volume_ml"]) == pytest.approx(
            inside.sum() * np.prod(image.header.get_zooms()) / 1000, abs=1e-3
        )
        if inside.any():
            assert float(rows[organ]["mean"]) == pytest.approx(image.get_fdata()[inside].mean(), abs=1e-2)
            center = image.affine @ [*np.argwhere(inside).mean(0), 1]
            np.testing.assert_allclose([float(x) for x in rows[organ]["centroid_mm"].split()], center[:3], atol=0.06)
    assert (out / "img0001.preview.png").read_bytes().startswith(b"\x89PNG")
    assert medups(*command, "--output", tmp_path / "m.nii", "--mirror", "--bf16", "--largest-component", "liver") == 0
    liver = nib.load(tmp_path / "m.nii").get_fdata() == 5
    assert ndimage.label(liver)[1] <= 1
    for wrong in (["--organs", "heart"], ["--fill-holes", "heart"], ["--formats", "stl"]):
        assert medups(*command, "--output", out, *wrong) == 2
    assert "unknown organ 'heart'" in capsys.readouterr().err


def test_scans_of_another_kind_are_refused(run, phantoms, tmp_path, capsys):
    """MR by its header; CT + 1024 and CT in 0 to 1 by their intensities; --force accepts them."""
    folder, _ = run
    image = nib.load(phantoms / "img" / "img0001.nii.gz")
    data = image.get_fdata()
    for name, values in {"shifted": data - data.min(), "scaled": (data - data.min()) / np.ptp(data)}.items():
        nib.save(nib.Nifti1Image(values.astype(np.float32), image.affine), tmp_path / f"{name}.nii.gz")
        command = ["predict", "--model", folder / "bundle", "--input", tmp_path / f"{name}.nii.gz", "--output"]
        assert medups(*command, tmp_path / "mask.nii.gz") == 2
        assert "cannot be Hounsfield units" in capsys.readouterr().err
        assert medups(*command, tmp_path / f"{name}_mask.nii.gz", "--force") == 0
    write_series(tmp_path / "mr", tags={"0008|0060": "MR"})
    assert (
        medups("predict", "--model", folder / "bundle", "--input", tmp_path / "mr", "--output", tmp_path / "o.nii") == 2
    )
    assert "the scan is MR, the model was trained on CT" in capsys.readouterr().err


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
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    labels_file(out / "img0001.nii.gz").write_text('{"1": "another"}')  # the table of another model
    before[labels_file(out / "img0001.nii.gz")] = b'{"1": "another"}'
    monkeypatch.setattr("medups.io.files.os.fsync", full)
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", out) == 1
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
