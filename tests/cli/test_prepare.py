"""``medups prepare``: all problems of a dataset in one pass, its statistics and its cache."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from medups.cli.main import main
from medups.data.labels import label_set
from tests.scans import write_nifti

BTCV = label_set("btcv13")


@pytest.fixture
def dataset(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    return tmp_path / "data"


def prepare(root, tmp_path, *overrides):
    recipe = [
        "data=phantom", f"data.root={root}", f"data.cache={tmp_path / 'cache'}", "data.split.train=['0001','0002']",
        "data.split.val=['0003']", "data.split.test=['0004']",
    ]  # fmt: skip
    return main(["prepare", *recipe, *overrides, "--output", str(tmp_path / "out")])


def change(path, edit):
    image = nib.load(path)
    data, affine = np.asanyarray(image.dataobj).copy(), image.affine
    write_nifti(path, *edit(data, affine))


def test_a_good_dataset(dataset, tmp_path, capsys):
    assert prepare(dataset, tmp_path) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "cases.csv").open()))
    assert [(row["case"], row["part"]) for row in rows] == [
        ("0001", "train"), ("0002", "train"), ("0003", "val"), ("0004", "test"),
    ]  # fmt: skip
    label = nib.load(dataset / "label" / "label0002.nii.gz")
    voxel_ml = abs(np.linalg.det(label.affine)) / 1000
    liver = (np.asanyarray(label.dataobj) == BTCV.id_of("liver")).sum() * voxel_ml
    assert float(rows[1]["liver_ml"]) == pytest.approx(liver, rel=1e-3)
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == [
        f"000{n}.png" for n in (1, 2, 3, 4)
    ]
    assert imread(tmp_path / "out" / "overlays" / "0001.png").std() > 0.1
    entries = Counter(path.name[:4] for path in (tmp_path / "cache").iterdir())
    assert entries == {"0001": 2, "0002": 2, "0003": 1}  # slices are prepared for training cases only
    assert "4 cases" in capsys.readouterr().out


def test_all_problems_are_reported_in_one_pass(dataset, tmp_path, capsys):
    change(dataset / "label" / "label0001.nii.gz", lambda data, affine: (np.where(data == 6, 90, data), affine))
    change(dataset / "label" / "label0002.nii.gz", lambda data, affine: (data[:-1], affine))
    (dataset / "img" / "img0003.nii.gz").write_bytes((dataset / "img" / "img0003.nii.gz").read_bytes()[:-9])
    change(dataset / "label" / "label0004.nii.gz", lambda data, affine: (data * 0, affine))
    assert prepare(dataset, tmp_path) == 2
    out, error = capsys.readouterr()
    out = " ".join(out.split())
    assert "label ids [90] are not in the set 'btcv13'" in out
    assert "data.source_labels=totalsegmentator_v1 (or totalsegmentator_v2) names all ids of all masks" in out
    assert "label0002.nii.gz: shape" in out
    assert "img0003.nii.gz: the compressed file is truncated or damaged" in out
    assert "label0004.nii.gz: no organ of the set 'synapse8' in this mask; kept as a negative case" in out
    assert "3 problems in 4 cases" in error
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "out").exists()


def test_unpaired_files_do_not_hide_other_problems(dataset, tmp_path, capsys):
    """For ids that are in no shipped set, the message contains a table to complete."""
    (dataset / "label" / "label0003.nii.gz").unlink()
    change(dataset / "label" / "label0001.nii.gz", lambda data, affine: (np.where(data == 6, 250, data), affine))
    assert prepare(dataset, tmp_path) == 2
    out, error = capsys.readouterr()
    out = " ".join(out.split())
    assert "do not pair up: 1 images without a mask (0003)" in out
    assert "data.split.val: no such cases: 0003" in out
    assert "label ids [250] are not in the set 'btcv13'" in out
    assert "1: spleen, 2: right_kidney" in out
    assert "250: NAME}', fill in the organs of 250, and set data.source_labels=own.yaml" in out
    assert "3 problems in 3 cases" in error
    assert not (tmp_path / "out").exists()


def test_a_case_without_a_mask_has_an_overlay(phantoms, tmp_path):
    root = tmp_path / "list"
    root.mkdir()
    entries = [{"image": str(phantoms / f"img/img000{n}.nii.gz"), "label": str(phantoms / f"label/label000{n}.nii.gz")}
               for n in (1, 2)]  # fmt: skip
    labels = {"0": "background", **{str(number): organ for number, organ in BTCV.organs.items()}}
    content = {"labels": labels, "training": entries, "test": [str(phantoms / "img/img0003.nii.gz")]}
    (root / "dataset.json").write_text(json.dumps(content))
    recipe = ["data=datalist", f"data.root={root}", f"data.cache={tmp_path / 'cache'}"]
    assert main(["prepare", *recipe, "--output", str(tmp_path / "out")]) == 0
    pictures = {path.stem: imread(path) for path in (tmp_path / "out" / "overlays").iterdir()}
    assert sorted(pictures) == ["0001", "0002", "0003"]
    colored = {name: np.ptp(picture[..., :3], -1).max() > 0.3 for name, picture in pictures.items()}
    assert colored == {"0001": True, "0002": True, "0003": False}
    assert pictures["0003"][..., 0].std() > 0.1


def test_duplicate_scans(dataset, tmp_path, capsys):
    shutil.copy(dataset / "img" / "img0001.nii.gz", dataset / "img" / "img0004.nii.gz")
    shutil.copy(dataset / "label" / "label0001.nii.gz", dataset / "label" / "label0004.nii.gz")
    assert prepare(dataset, tmp_path) == 2
    assert "cases 0001, 0004 hold the same scan" in capsys.readouterr().out


def test_swapped_left_and_right(dataset, tmp_path, capsys):
    change(dataset / "img" / "img0001.nii.gz", lambda data, affine: (data[::-1], affine))
    change(dataset / "label" / "label0001.nii.gz", lambda data, affine: (data[::-1], affine))
    assert prepare(dataset, tmp_path) == 0
    out = capsys.readouterr().out
    assert "0001: left_kidney is to the right of right_kidney" in out
    assert "0002: left_kidney" not in out


def test_organs_the_dataset_lacks(phantoms, tmp_path, capsys):
    labels = tmp_path / "dataset.json"
    labels.write_text(json.dumps({"name": "short", "labels": {"background": 0, "liver": 6}}))
    assert prepare(phantoms, tmp_path, f"data.source_labels={labels}") == 2
    error = capsys.readouterr().err
    assert "(liver) lack aorta, gallbladder" in error
    assert "data.source_labels" in error
