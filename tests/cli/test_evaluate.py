"""``medups evaluate`` and ``compare``."""

from __future__ import annotations

import csv
import json
import re
import shutil

import nibabel as nib
import numpy as np

from medups.data.labels import label_set
from medups.data.volumes.masks import labels_file
from tests.cli.commands import medups
from tests.scans import write_nifti


def test_predict_evaluate_compare(run, phantoms, tmp_path, capsys):
    folder, _ = run
    masks = tmp_path / "masks"
    assert medups("predict", "--model", folder / "bundle", "--input", phantoms / "img", "--output", masks) == 0
    assert sorted(path.name for path in masks.glob("*.nii.gz")) == [f"img000{n}.nii.gz" for n in (1, 2, 3, 4)]
    for protocol in ("physical", "synapse"):
        arguments = ["--pred", masks, "--label", phantoms / "label", "--image", phantoms / "img"]
        options = ["--label-labels", "btcv13", "--protocol", protocol, "--output", tmp_path / protocol]
        options += ["--also", f"again={masks}"]
        assert medups("evaluate", *arguments, *options) == 0
        summary = json.loads((tmp_path / protocol / "summary.json").read_text())
        assert summary["n_cases"] == 4
        assert sorted(summary["organs"]) == sorted(
            ["aorta", "gallbladder", "left_kidney", "right_kidney", "liver", "pancreas", "spleen", "stomach"]
        )
        assert len((tmp_path / protocol / "cases.csv").read_text().splitlines()) == 1 + 4 * 8
        assert len(list((tmp_path / protocol / "overlays").glob("*.png"))) == 4
        paper = tmp_path / protocol / "paper"
        assert sorted(path.name for path in paper.iterdir()) == [
            "dice.png", "dice.svg", "hd95.png", "hd95.svg", "means.csv", "means.md", "means.tex",
        ]  # fmt: skip
        rows = list(csv.reader((paper / "means.csv").open(encoding="utf-8")))
        assert {row[0]: row[1] for row in rows}["liver"] == f"{summary['organs']['liver']['dice']:.3f}"
        assert (paper / "means.tex").read_text().count("&") == len(rows) * (len(rows[0]) - 1)
        page = (tmp_path / protocol / "report.html").read_text(encoding="utf-8")
        cases = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["cases"]
        assert all(case["others"]["again"] == case["pred"] for case in cases)
        shown = re.findall(r'<img src="([^"]+)"', page)
        assert sorted(shown) == [f"overlays/000{n}.png" for n in (1, 2, 3, 4)]
        assert all((tmp_path / protocol / name).is_file() for name in shown)
    assert medups("evaluate", *arguments, *options, "--also", f"x={masks / 'img0001.nii.gz'}") == 2
    assert "no mask for 0002" in capsys.readouterr().err
    assert medups("evaluate", *arguments, *options, "--also", "x") == 2
    assert medups("evaluate", *arguments, *options, "--tolerance", "liver=x") == 2
    assert medups("evaluate", *arguments, *options, "--tolerance", "lever=1") == 2
    assert "unknown organ lever" in capsys.readouterr().err
    assert medups("compare", tmp_path / "physical") == 0
    assert medups("compare", tmp_path / "physical", tmp_path / "synapse") == 2
    assert "the protocol differs" in capsys.readouterr().err
    (tmp_path / "masks" / "img0004.nii.gz").unlink()
    rest = ["--pred", masks, "--label", phantoms / "label", "--label-labels", "btcv13", "--output", tmp_path / "three"]
    assert medups("evaluate", *rest) == 0
    assert medups("compare", tmp_path / "physical", tmp_path / "three") == 2
    assert "three: the list of cases differs" in capsys.readouterr().err


def test_bad_predictions(run, phantoms, tmp_path, capsys):
    mask = phantoms / "label" / "label0001.nii.gz"
    volume = nib.load(mask)
    data = np.asanyarray(volume.dataobj)
    shifted = volume.affine.copy()
    shifted[0, 3] += 5
    for name, (values, affine) in {
        "shape": (data[:-1], volume.affine),
        "affine": (data, shifted),
        "ids": (np.where(data == 1, 77, data), volume.affine),
        "fractions": (data * 0.5, volume.affine),
    }.items():
        write_nifti(tmp_path / f"{name}.nii.gz", values, affine)
        arguments = ["--pred", tmp_path / f"{name}.nii.gz", "--label", mask, "--pred-labels", "btcv13"]
        options = ["--label-labels", "btcv13", "--output", tmp_path / "out"]
        assert medups("evaluate", *arguments, *options) == 2, name
        assert f"{name}.nii.gz" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    good = ["--pred", mask, "--label", mask, "--label-labels", "btcv13", "--output", tmp_path / "out"]
    assert medups("evaluate", *good) == 2
    assert "pass its label set with --pred-labels" in capsys.readouterr().err
    assert medups("evaluate", *good, "--pred-labels", "btcv13", "--organs", "livr") == 2
    assert "did you mean 'liver'" in capsys.readouterr().err
    custom = tmp_path / "custom.yaml"
    custom.write_text("organs: {1: Liver, 2: cyst}")
    assert medups("evaluate", *good, "--pred-labels", custom) == 2
    assert "no organ is in both label sets, Liver, cyst against spleen" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    blocked = [*good[:-1], tmp_path / "file" / "below", "--pred-labels", "btcv13"]
    assert medups("evaluate", *blocked) == 2
    assert "cannot write there" in capsys.readouterr().err


def test_organs_missing_from_some_masks(phantoms, tmp_path, capsys):
    """A different spelling in one table would silently drop an organ from the mean."""
    labels = ["--label", phantoms / "label", "--label-labels", "btcv13"]
    for name, liver in (("0001", "liver"), ("0002", "Liver")):
        mask = tmp_path / "masks" / f"label{name}.nii.gz"
        mask.parent.mkdir(exist_ok=True)
        shutil.copy(phantoms / "label" / mask.name, mask)
        table = {number: organ for number, organ in label_set("btcv13").organs.items() if organ != "liver"}
        labels_file(mask).write_text(json.dumps({**table, label_set("btcv13").id_of("liver"): liver}))
    scored = ["evaluate", "--pred", tmp_path / "masks", *labels, "--output"]
    assert medups(*scored, tmp_path / "out") == 2
    assert "label0002.nii.gz: its organs differ from those of " in (error := capsys.readouterr().err)
    assert "Liver, liver" in error
    assert not (tmp_path / "out").exists()
    assert medups(*scored, tmp_path / "out", "--organs", "spleen") == 0
    labels_file(tmp_path / "masks" / "label0002.nii.gz").write_text(
        labels_file(tmp_path / "masks" / "label0001.nii.gz").read_text().replace("spleen", "tumor")
    )
    (tmp_path / "masks" / "label0001.nii.gz").unlink()
    assert medups(*scored, tmp_path / "rest") == 0
    assert "organs not compared: tumor, spleen" in capsys.readouterr().out
