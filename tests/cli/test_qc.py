"""``medups qc``."""

from __future__ import annotations

import csv
import shutil

import nibabel as nib
import numpy as np

from tests.cli.commands import medups
from tests.scans import write_nifti


def test_masks_without_labels(phantoms, tmp_path, capsys):
    """The worst case first: one without a liver, then one mirrored; a damaged one is reported after all others."""
    for path in (phantoms / "label").iterdir():
        shutil.copy(path, tmp_path / path.name)
    first, second = (nib.load(tmp_path / f"label000{number}.nii.gz") for number in (1, 2))
    ids = np.asanyarray(first.dataobj).copy()
    ids[np.isin(ids, (6, 1, 11))] = 0  # liver, spleen, pancreas
    write_nifti(tmp_path / "label0001.nii.gz", ids, first.affine)
    write_nifti(tmp_path / "label0002.nii.gz", np.asanyarray(second.dataobj)[::-1].copy(), second.affine)
    command = ["qc", tmp_path, "--labels", "btcv13", "--output", tmp_path / "out" / "qc"]
    assert medups(*command, "--image", phantoms / "img") == 0
    rows = list(csv.DictReader((tmp_path / "out" / "qc" / "qc.csv").open(encoding="utf-8")))
    assert [row["organ"] for row in rows if row["case"] == "0001" and row["finding"] == "missing"] >= ["spleen"]
    assert ("0002", "left_kidney", "side") in [(row["case"], row["organ"], row["finding"]) for row in rows]
    page = (tmp_path / "out" / "qc" / "qc.html").read_text(encoding="utf-8")
    assert page.index("<h2>0001</h2>") < page.index("<h2>0003</h2>")
    pictures = sorted(path.name for path in (tmp_path / "out" / "qc" / "pictures").iterdir())
    assert pictures == [f"000{number}.png" for number in (1, 2, 3, 4)]
    assert "liver: not found" in capsys.readouterr().out

    shutil.rmtree(tmp_path / "out")
    (tmp_path / "label0003.nii.gz").write_bytes(b"damaged")
    assert medups(*command) == 2
    assert "1 of 4 masks cannot be checked" in capsys.readouterr().err
    page = (tmp_path / "out" / "qc" / "qc.html").read_text(encoding="utf-8")
    assert page.index("<h2>0003</h2>") < page.index("<h2>0001</h2>") < page.index("<h2>0004</h2>")


def test_usual_volumes_need_several_masks(phantoms, tmp_path, capsys):
    command = ["qc", phantoms / "label", "--labels", "btcv13", "--output", tmp_path / "out"]
    assert medups(*command, "--reference", phantoms / "label", "--reference-labels", "btcv13") == 2
    assert "need at least 5 masks" in capsys.readouterr().err
    assert not (tmp_path / "out" / "qc.html").exists()
    assert medups(*command, "--image", phantoms / "img" / "img0001.nii.gz") == 2
    assert "no image for" in capsys.readouterr().err
