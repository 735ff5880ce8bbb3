"""Splits into training, validation and test cases."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from medups.data.cases import case_key
from medups.data.dataset import fold_of, open_dataset
from medups.errors import InputError
from medups.settings.compose import compose
from medups.settings.schema import DataSettings, SplitSettings
from tests.data.phantom_cases import synapse_cases


def raw(root, **split):
    """The settings of raw BTCV files; parts of the split are None by default."""
    return DataSettings(root=str(root), source_labels="btcv13", split=SplitSettings(**split))


def test_published_split():
    data = compose(["data.root=somewhere"]).data
    split = data.split
    assert len(split.train) == 18
    assert len(split.test) == 12
    assert set(split.val) < set(split.train)
    assert not set(split.train) & set(split.test)
    assert data.source_labels == "btcv13"
    assert split.test == [
        "0001",
        "0002",
        "0003",
        "0004",
        "0008",
        "0022",
        "0025",
        "0029",
        "0032",
        "0035",
        "0036",
        "0038",
    ]


def test_validation_cases_are_not_trained_on(phantoms):
    split = open_dataset(raw(phantoms, train=["0001", "0002"], val=["0002"], test=["0003"]))
    assert [case.name for case in split.train] == ["0001"]
    assert [case.name for case in split.val] == ["0002"]


def test_a_fold_validates_on_its_own_cases(phantoms, tmp_path):
    names = ["0001", "0002", "0003", "0004"]
    data = replace(raw(phantoms, train=names, val=[], test=[]), fold=1)
    with pytest.raises(InputError, match="found 4"):
        open_dataset(data)
    shutil.copytree(phantoms, tmp_path / "five")
    for kind in ("img", "label"):
        shutil.copy(phantoms / kind / f"{kind}0001.nii.gz", tmp_path / "five" / kind / f"{kind}0005.nii.gz")
    split = open_dataset(replace(raw(tmp_path / "five", train=[*names, "0005"], val=[], test=[]), fold=1))
    assert [case.name for case in split.val] == fold_of([*names, "0005"], 1)
    assert {case.name for case in split.train} == {*names, "0005"} - {case.name for case in split.val}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": ["0001", "0009"], "val": [], "test": []}, "no such cases: 0009; the dataset has 0001, 0002"),
        ({"train": ["0001"], "val": [], "test": ["0001"]}, "0001 would be both trained on and tested on"),
        ({"train": ["0001"], "val": ["0001"], "test": []}, "no cases left to train on"),
    ],
)
def test_bad_splits(phantoms, split, message):
    with pytest.raises(InputError, match=message):
        open_dataset(raw(phantoms, **split))


def test_layout(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "RawData" / "Training")
    assert list(synapse_cases(tmp_path)) == ["0001", "0002", "0003", "0004"]
    (tmp_path / "RawData" / "Training" / "img" / "img0003.nii.gz").unlink()
    with pytest.raises(InputError, match=r"do not pair up: 1 masks without an image \(0003\)"):
        open_dataset(raw(tmp_path, val=[], test=[]))
    with pytest.raises(InputError, match="expected the folders img and label"):
        synapse_cases(tmp_path / "RawData" / "Training" / "img")


def test_names_pair_up(tmp_path):
    keys = [
        case_key(tmp_path / name) for name in ("img0001.nii.gz", "label0001.nii.gz", "case_0001.nii", "image.nii.gz")
    ]
    assert keys == ["0001", "0001", "0001", "image"]


def test_folds_share_no_case_and_cover_all():
    names = [f"{n:04d}" for n in range(18)]
    folds = [fold_of(names, fold) for fold in range(5)]
    assert sorted(name for fold in folds for name in fold) == names
    assert {len(fold) for fold in folds} == {3, 4}
    assert fold_of(names[::-1], 2) == folds[2]  # independent of the order of the names
    with pytest.raises(InputError, match="0 to 4, got 5"):
        fold_of(names, 5)
    with pytest.raises(InputError, match="found 4"):
        fold_of(names[:4], 0)
