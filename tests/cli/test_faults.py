"""Faults that are injected into whole commands: memory, clocks, files that change, broken weights, second processes."""

from __future__ import annotations

import json
import os
import shutil
import time

import numpy as np
import pytest
import torch

from medups.data.cache import cases
from medups.data.volumes.read import read_scan
from medups.io.locks import only_process
from medups.networks.transunet import TransUNet
from medups.workflows import predict as prediction
from tests.cli.commands import medups


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
