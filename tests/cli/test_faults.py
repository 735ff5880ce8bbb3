"""Faults that are injected into whole commands: memory, clocks, files that change, broken weights, second processes."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medups.data.cache import cases
from medups.data.labels import LabelSet
from medups.data.volumes.files import files_of
from medups.data.volumes.masks import write_masks
from medups.data.volumes.read import read_scan
from medups.io.locks import only_process
from medups.networks.transunet import TransUNet
from medups.workflows import predict as prediction
from tests.cli.commands import medups
from tests.dicom_series import write_series


@pytest.fixture
def scans(phantoms, tmp_path):
    """Two scans in a folder of their own."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("img0001.nii.gz", "img0002.nii.gz"):
        shutil.copy(phantoms / "img" / name, folder / name)
    return folder


def weights_of(folder):
    return torch.load(folder / "bundle" / "models" / "model.pt", weights_only=True)


def masks_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}


def other(recipe, folder):
    """The recipe with another output."""
    return [*(word for word in recipe if not word.startswith("output=")), f"output={folder}"]


def test_a_scan_that_changes_while_it_is_read(run, scans, tmp_path, monkeypatch, capsys):
    """It is refused, the others are done, and a repeated command finishes it."""

    def changing(scan, resample=False):
        volume = read_scan(scan, resample)
        if scan.name == "img0001":
            os.utime(scan.path, ns=(1, 1))
        return volume

    predict = ["predict", "--model", run[0] / "bundle", "--input", scans, "--output", tmp_path / "masks"]
    monkeypatch.setattr(prediction, "read_scan", changing)
    assert medups(*predict) == 2
    error = capsys.readouterr().err
    assert "1 of 2 scans failed, the others are done" in error
    assert "img0001.nii.gz: changed while it was read; repeat the command when it is complete" in error
    assert list(masks_of(tmp_path / "masks")) == ["img0002.nii.gz"]
    monkeypatch.undo()
    assert medups(*predict) == 0
    assert len(masks_of(tmp_path / "masks")) == 2


def test_a_scan_that_is_replaced_while_it_is_segmented(run, scans, phantoms, tmp_path, monkeypatch):
    """The mask of the old scan is not taken for the new one's."""
    model = ["predict", "--model", run[0] / "bundle", "--input", scans, "--output"]
    original = prediction.segment_scan

    def replacing(model, scan, *rest):
        if scan.source.endswith("img0001.nii.gz"):
            shutil.copy(phantoms / "img" / "img0003.nii.gz", scans / "img0001.nii.gz")
        return original(model, scan, *rest)

    monkeypatch.setattr(prediction, "segment_scan", replacing)
    assert medups(*model, tmp_path / "masks") == 0
    monkeypatch.undo()
    assert medups(*model, tmp_path / "masks") == 0
    assert medups(*model, tmp_path / "expected") == 0
    assert masks_of(tmp_path / "masks") == masks_of(tmp_path / "expected")


def test_a_training_case_that_changes_while_it_is_cached(run, phantoms, tmp_path, monkeypatch, capsys):
    _, recipe = run
    original = cases.read_scan

    def changing(path):
        volume = original(path)
        if path.name == "img0002.nii.gz":
            os.utime(path, ns=(1, 1))
        return volume

    root = tmp_path / "data"
    shutil.copytree(phantoms, root)
    start = [*other(recipe, tmp_path / "run"), f"data.root={root}", f"data.cache={tmp_path / 'cache'}"]
    monkeypatch.setattr(cases, "read_scan", changing)
    assert medups("train", *start) == 2
    assert "img0002.nii.gz: changed while it was read" in capsys.readouterr().err
    monkeypatch.undo()
    assert medups("train", *start) == 0
    trained, expected = weights_of(tmp_path / "run"), weights_of(run[0])
    assert all(torch.equal(trained[name], expected[name]) for name in expected)


def test_a_scan_that_needs_too_much_memory(run, scans, tmp_path, monkeypatch, capsys):
    original = prediction.segment_scan

    def full(model, scan, *rest):
        if scan.source.endswith("img0001.nii.gz"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return original(model, scan, *rest)

    monkeypatch.setattr(prediction, "segment_scan", full)
    predict = ["predict", "--model", run[0] / "bundle", "--input", scans, "--output", tmp_path / "masks"]
    assert medups(*predict) == 2
    error = capsys.readouterr().err
    assert "img0001.nii.gz: needs more memory than this machine has; use one with more" in error
    assert list(masks_of(tmp_path / "masks")) == ["img0002.nii.gz"]
    monkeypatch.undo()
    assert medups(*predict) == 0


def test_a_training_step_that_needs_too_much_memory(run, tmp_path, monkeypatch, capsys):
    """The message says what helps; the same command resumes and ends with the same weights."""
    folder, recipe = run
    start = [*other(recipe, tmp_path / "run"), "training.save_seconds=0"]
    original, calls = TransUNet.forward, []

    def full(self, x):
        if self.training and x.device.type != "meta":
            calls.append(x)
            if len(calls) == 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, x)

    monkeypatch.setattr(TransUNet, "forward", full)
    assert medups("train", *start) == 1
    error = capsys.readouterr().err
    assert "CUDA out of memory; set training.accumulate=2 or more (the samples stay the same)" in error
    monkeypatch.undo()
    assert medups("train", *start) == 0
    assert "resuming after step" in capsys.readouterr().out
    trained, expected = weights_of(tmp_path / "run"), weights_of(folder)
    assert all(torch.equal(trained[name], expected[name]) for name in expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_predict_nothing(run, scans, tmp_path, capsys, value):
    folder, recipe = run
    bundle = shutil.copytree(folder / "bundle", tmp_path / "bundle")
    weights = weights_of(folder)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.ndim > 1)
    weights[name][(0,) * weights[name].ndim] = value
    torch.save(weights, bundle / "models" / "model.pt")
    assert medups("predict", "--model", bundle, "--input", scans, "--output", tmp_path / "masks") == 2
    assert f"weights that are not finite numbers: {name}" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()
    start = [f"weights.path={bundle / 'models/model.pt'}", "weights.layout=medups"]
    assert medups("train", *other(recipe, tmp_path / "run"), *start) == 2
    assert f"weights that are not finite numbers: {name}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_clocks_that_jump_change_nothing(run, scans, tmp_path, monkeypatch):
    """Every look at the clock jumps by up to a year, forward or back."""
    folder, recipe = run
    jumps, real = np.random.default_rng(0), time.time
    monkeypatch.setattr(time, "time", lambda: real() + float(jumps.uniform(-3e7, 3e7)))
    assert medups("train", *other(recipe, tmp_path / "run")) == 0
    predict = ["predict", "--input", scans, "--output"]
    assert medups(*predict, tmp_path / "masks", "--model", tmp_path / "run" / "bundle") == 0
    monkeypatch.undo()
    trained, expected = weights_of(tmp_path / "run"), weights_of(folder)
    assert all(torch.equal(trained[name], expected[name]) for name in expected)
    assert medups(*predict, tmp_path / "expected", "--model", folder / "bundle") == 0
    assert masks_of(tmp_path / "masks") == masks_of(tmp_path / "expected")


def test_two_processes_do_not_train_in_one_folder(run, tmp_path, capsys):
    _, recipe = run
    with only_process(tmp_path / "run", "a training run"):
        assert medups("train", *other(recipe, tmp_path / "run")) == 2
    assert "run: a training run is running there; wait until it ends" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert medups("train", *other(recipe, tmp_path / "run")) == 0
    report = json.loads((tmp_path / "run" / "config.json").read_text())
    assert report["training"]["steps"] == 6


def test_voxels_beside_a_header_are_part_of_the_scan(run, phantoms, tmp_path):
    """If only the file of the voxels changes, the mask is made again, and a training case is cached again."""
    volume = nib.load(phantoms / "img" / "img0001.nii.gz")
    image = sitk.GetImageFromArray(np.asanyarray(volume.dataobj).astype(np.int16).T)
    scans = tmp_path / "scans"
    scans.mkdir()
    sitk.WriteImage(image, str(scans / "one.mhd"))
    predict = ["predict", "--model", run[0] / "bundle", "--input", scans, "--output"]
    assert medups(*predict, tmp_path / "masks") == 0
    before = masks_of(tmp_path / "masks")
    header = (scans / "one.mhd").read_bytes()
    sitk.WriteImage(image[:, ::-1], str(scans / "one.mhd"))
    (scans / "one.mhd").write_bytes(header)
    assert medups(*predict, tmp_path / "masks") == 0
    assert medups(*predict, tmp_path / "expected") == 0
    assert masks_of(tmp_path / "masks") == masks_of(tmp_path / "expected") != before
    assert [path.name for path in files_of(scans / "one.mhd")] == ["one.mhd", "one.raw"]
    fields = ["NRRD0004", "type: short", "dimension: 3", "sizes: 2 2 2", "encoding: raw", "data file: two.raw"]
    (scans / "two.nhdr").write_text("\n".join(fields) + "\n\n")
    (scans / "two.raw").write_bytes(bytes(16))
    assert [path.name for path in files_of(scans / "two.nhdr")] == ["two.nhdr", "two.raw"]
    assert [path.name for path in files_of(scans / "three.hdr")] == ["three.hdr", "three.img"]


def test_archives_are_resumed(run, scans, tmp_path, capsys):
    """The scans of an archive that did not change are kept; those of another archive are not."""
    archive = tmp_path / "scans.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(scans.iterdir()):
            file.write(path, path.name)
    predict = ["predict", "--model", run[0] / "bundle", "--input", archive, "--output", tmp_path / "masks"]
    assert medups(*predict) == 0
    assert medups(*predict) == 0
    assert "kept 2 existing masks" in capsys.readouterr().out
    os.utime(archive, ns=(1, 1))
    assert medups(*predict) == 0
    assert "kept" not in capsys.readouterr().out
    assert medups(*predict[:-1], tmp_path / "one", "--cases", " 0001") == 0
    assert len(masks_of(tmp_path / "one")) == 1


def test_a_host_without_memory(run, scans, tmp_path, monkeypatch, capsys):
    """torch's error on a CPU, while a mask is written; and Python's, while a scan is read."""
    original, read = prediction.organ_facts, prediction.read_scan

    def no_room(scan, resample=False):
        if scan.name == "img0002":
            raise MemoryError
        return read(scan, resample)

    def full(*arguments):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(prediction, "organ_facts", full)
    monkeypatch.setattr(prediction, "read_scan", no_room)
    assert medups("predict", "--model", run[0] / "bundle", "--input", scans, "--output", tmp_path / "masks") == 2
    error = capsys.readouterr().err
    for name in ("img0001", "img0002"):
        assert f"{name}.nii.gz: needs more memory than this machine has" in error
    monkeypatch.setattr(prediction, "organ_facts", original)

    def other(*arguments):
        raise RuntimeError("something else")

    monkeypatch.setattr(prediction, "organ_facts", other)
    assert medups("predict", "--model", run[0] / "bundle", "--input", scans, "--output", tmp_path / "other") == 1


def test_no_organs_at_all_are_refused(run, scans, tmp_path, capsys):
    predict = ["predict", "--model", run[0] / "bundle", "--input", scans, "--output", tmp_path / "masks"]
    assert medups(*predict, "--organs", "") == 2
    assert "organs: name at least one" in capsys.readouterr().err


def test_an_older_dicom_mask_does_not_stay(tmp_path, rng):
    """DICOM has no mask without organs, so that an older file would be taken for the new mask."""
    write_series(tmp_path / "series", voxels=rng.integers(-100, 100, (6, 16, 16)).astype(np.int16))
    scan, labels = read_scan(tmp_path / "series"), LabelSet("own", {1: "liver"})
    files = {"rtstruct": tmp_path / "a.rtstruct.dcm"}
    ids = np.zeros(scan.data.shape, np.uint8)
    ids[4:9, 4:9, 2:4] = 1
    assert write_masks(files, ids, scan, labels) == [files["rtstruct"]]
    assert files["rtstruct"].is_file()
    assert write_masks(files, ids * 0, scan, labels) == []
    assert not files["rtstruct"].exists()


@pytest.mark.parametrize("name", ["a" * 400, "missing.raw"])
def test_a_header_that_names_no_file_does_not_stop_the_others(run, scans, tmp_path, capsys, name):
    fields = ["NRRD0004", "type: short", "dimension: 3", "sizes: 2 2 2", "encoding: raw", "endian: little"]
    (scans / "bad.nhdr").write_text("\n".join([*fields, f"data file: {name}"]) + "\n\n")
    assert medups("predict", "--model", run[0] / "bundle", "--input", scans, "--output", tmp_path / "masks") == 2
    error = capsys.readouterr().err
    assert "1 of 3 scans failed, the others are done" in error
    assert "does not exist beside the header" in error
