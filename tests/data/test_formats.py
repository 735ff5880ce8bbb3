"""Every dataset format gives the same cases as the raw files from which it was made."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from medups.data.cache import cached
from medups.data.dataset import open_dataset
from medups.data.formats.synapse import synapse
from medups.data.labels import label_set
from medups.errors import InputError
from medups.evaluation import find_pairs
from medups.settings.compose import compose
from medups.settings.schema import DataSettings
from medups.workflows.jobs import list_jobs
from tests.scans import write_nifti

BTCV, SYNAPSE = label_set("btcv13"), label_set("synapse8")
NAMES = ["0001", "0002", "0003", "0004"]


def settings_of(kind, root, *overrides):
    return compose([f"data={kind}", f"data.root={root}", *overrides]).data


def files(phantoms, name):
    return phantoms / "img" / f"img{name}.nii.gz", phantoms / "label" / f"label{name}.nii.gz"


def assert_same_case(case, labels, phantoms, tmp_path):
    """Compare a case with the raw case of the same number."""
    name = case.name[-4:]
    result = cached(case, tmp_path / "cache", labels, SYNAPSE)
    expected = cached(synapse(DataSettings(root=str(phantoms))).cases[name], tmp_path / "cache", BTCV, SYNAPSE)
    np.testing.assert_array_equal(result.image, expected.image)
    np.testing.assert_array_equal(result.label, expected.label)
    assert result.spacing == expected.spacing


@pytest.fixture
def datalist(phantoms, tmp_path):
    """A datalist with BTCV's ids, our organ names and relative paths; the fourth case has no mask."""
    root = tmp_path / "list"
    root.mkdir()
    entries = []
    for name in NAMES:
        for path in files(phantoms, name):
            shutil.copy(path, root)
        entries.append({"image": f"img{name}.nii.gz", "label": f"label{name}.nii.gz"})
    content = {
        "labels": {"0": "background", **{str(number): organ for number, organ in BTCV.organs.items()}},
        "training": entries[:2],
        "validation": entries[2:3],
        "test": [entries[3]["image"]],
    }
    (root / "dataset_0.json").write_text(json.dumps(content))
    return root / "dataset_0.json"


def test_datalist(datalist, phantoms, tmp_path):
    dataset = open_dataset(settings_of("datalist", datalist))
    assert dataset.names == {"train": ["0001", "0002"], "val": ["0003"], "test": ["0004"]}
    assert dataset.labels.organs == BTCV.organs
    assert dataset.test[0].label is None
    assert_same_case(dataset.val[0], dataset.labels, phantoms, tmp_path)


def test_abbreviated_names_need_a_label_set(datalist):
    content = json.loads(datalist.read_text())
    content["labels"] = {"0": "background", "1": "spl", "2": "rkid"}
    datalist.write_text(json.dumps(content))
    assert open_dataset(settings_of("datalist", datalist)).labels.names == ["spl", "rkid"]
    assert open_dataset(settings_of("datalist", datalist, "data.source_labels=btcv13")).labels == BTCV


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": [{"image": "img0009.nii.gz", "label": "label0001.nii.gz"}]}, "no such file .*img0009"),
        ({"training": [{"image": ["a.nii", "b.nii"], "label": "c.nii"}]}, "several images"),
        ({"training": [{"image": "img0001.nii.gz"}]}, "0001 would be trained on but have no mask"),
        ({"training": None}, "expected a datalist with the key training"),
    ],
)
def test_bad_datalists(datalist, change, message):
    datalist.write_text(json.dumps({**json.loads(datalist.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        open_dataset(settings_of("datalist", datalist))


@pytest.fixture
def nnunet(phantoms, tmp_path):
    root = tmp_path / "Dataset001_Phantom"
    for part, names in (("Tr", NAMES[:3]), ("Ts", NAMES[3:])):
        (root / f"images{part}").mkdir(parents=True)
        (root / f"labels{part}").mkdir()
        for name in names:
            image, label = files(phantoms, name)
            shutil.copy(image, root / f"images{part}" / f"ph_{name}_0000.nii.gz")
            if part == "Tr":
                shutil.copy(label, root / f"labels{part}" / f"ph_{name}.nii.gz")
    about = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{organ: number for number, organ in BTCV.organs.items()}},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    return root


def test_nnunet(nnunet, phantoms, tmp_path):
    dataset = open_dataset(settings_of("nnunet", nnunet))
    assert dataset.names == {"train": ["ph_0001", "ph_0002", "ph_0003"], "val": [], "test": ["ph_0004"]}
    assert_same_case(dataset.train[1], dataset.labels, phantoms, tmp_path)
    assert label_set(str(nnunet / "dataset.json")).organs == BTCV.organs
    custom = open_dataset(settings_of("nnunet", nnunet, "data.split.test=[ph_0002]"))
    assert custom.names == {"train": ["ph_0001", "ph_0003"], "val": [], "test": ["ph_0002"]}


@pytest.mark.parametrize("form", ["nnunet", "datalist"])
def test_split_names_match_those_of_prediction(request, form, phantoms, tmp_path):
    """The split names in a bundle select the scans, and the predicted masks pair with their labels."""
    root = request.getfixturevalue(form)
    scans = tmp_path / "scans"
    scans.mkdir()
    (tmp_path / "masks").mkdir()
    cases = open_dataset(settings_of(form, root)).test
    for case in cases:
        shutil.copy(case.image, scans)
        (job,) = list_jobs(scans, tmp_path / "masks", [case.name]).jobs
        assert job.scan.path.name == case.image.name
        shutil.copy(case.image, tmp_path / "masks" / job.mask.name)
    name, label = cases[0].name, {"nnunet": "ph_0004", "datalist": "label0004"}[form]
    (tmp_path / "labels").mkdir()
    shutil.copy(files(phantoms, "0004")[1], tmp_path / "labels" / f"{label}.nii.gz")
    assert [pair.name for pair in find_pairs(tmp_path / "masks", tmp_path / "labels")[0]] == [name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel_names": {"0": "T1", "1": "T2"}}, "2 channels"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "whole are regions"),
    ],
)
def test_bad_nnunet(nnunet, change, message):
    about = json.loads((nnunet / "dataset.json").read_text())
    (nnunet / "dataset.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(InputError, match=message):
        open_dataset(settings_of("nnunet", nnunet))


def test_folders(phantoms, tmp_path):
    for kind, goal in (("img", "scans"), ("label", "labels")):
        shutil.copytree(phantoms / kind, tmp_path / goal)
    dataset = open_dataset(settings_of("folders", tmp_path, "data.images=scans", "data.source_labels=btcv13"))
    assert dataset.names == {"train": NAMES, "val": [], "test": []}
    assert_same_case(dataset.train[2], dataset.labels, phantoms, tmp_path)
    (tmp_path / "labels" / "label0002.nii.gz").unlink()
    with pytest.raises(InputError, match=r"1 images without a mask \(0002\)"):
        open_dataset(settings_of("folders", tmp_path, "data.images=scans", "data.source_labels=btcv13"))


@pytest.fixture
def preprocessed(tmp_path):
    """A raw scan with BTCV's axes (left, anterior, superior) and its published conversion, computed voxel by voxel:
    [z, x, y reversed], HU clipped and scaled."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    raw = rng.integers(-300, 500, (7, 6, 5)).astype(np.int16)
    ids = rng.integers(0, 14, raw.shape).astype(np.uint8)
    affine = np.diag([-0.8, 0.8, 3, 1])
    write_nifti(tmp_path / "raw" / "img" / "img0005.nii.gz", raw, affine)
    write_nifti(tmp_path / "raw" / "label" / "label0005.nii.gz", ids, affine)
    assert nib.aff2axcodes(affine) == ("L", "A", "S")
    eight = BTCV.convert(ids, SYNAPSE)
    image, label = np.empty((5, 7, 6), np.float32), np.empty((5, 7, 6), np.float32)
    for x, y, z in np.ndindex(raw.shape):
        image[z, x, 5 - y] = (min(max(int(raw[x, y, z]), -125), 275) + 125) / 400
        label[z, x, 5 - y] = eight[x, y, z]
    root = tmp_path / "Synapse"
    for folder in ("train_npz", "test_vol_h5", "lists/lists_Synapse"):
        (root / folder).mkdir(parents=True)
    for z in range(5):
        np.savez(root / "train_npz" / f"case0005_slice{z:03d}.npz", image=image[z], label=label[z])
    with h5py.File(root / "test_vol_h5" / "case0001.npy.h5", "w") as file:
        file["image"], file["label"] = image, label
    (root / "lists/lists_Synapse/train.txt").write_text("\n".join(f"case0005_slice{z:03d}" for z in range(5)))
    (root / "lists/lists_Synapse/test_vol.txt").write_text("case0001\n")
    return root


def test_transunet_files_match_the_raw_scans(preprocessed, tmp_path):
    dataset = open_dataset(settings_of("transunet", preprocessed, "data.split.val=[]"))
    assert dataset.names == {"train": ["0005"], "val": [], "test": ["0001"]}
    raw = cached(synapse(DataSettings(root=str(tmp_path / "raw"))).cases["0005"], tmp_path / "cache", BTCV, SYNAPSE)
    for case in (dataset.train[0], dataset.test[0]):
        result = cached(case, tmp_path / "cache", dataset.labels, SYNAPSE)
        np.testing.assert_allclose(result.image, np.clip(raw.image, -125, 275), atol=1e-4)
        np.testing.assert_array_equal(result.label, raw.label)


def test_hidden_files_beside_transunets_are_skipped(preprocessed):
    (preprocessed / "train_npz" / "._case0005_slice000.npz").write_bytes(b"AppleDouble")
    (preprocessed / "test_vol_h5" / "._case0001.npy.h5").write_bytes(b"AppleDouble")
    dataset = open_dataset(settings_of("transunet", preprocessed, "data.split.val=[]"))
    assert dataset.names == {"train": ["0005"], "val": [], "test": ["0001"]}


def test_transunet_files_have_no_spacing(preprocessed, tmp_path):
    dataset = open_dataset(settings_of("transunet", preprocessed, "data.split.val=[]"))
    with pytest.raises(InputError, match="stores no spacing in millimeters"):
        cached(dataset.train[0], tmp_path, dataset.labels, SYNAPSE, spacing=(3, 2, 2))


def test_missing_transunet_files(preprocessed, tmp_path):
    missing = preprocessed / "train_npz" / "case0005_slice002.npz"
    missing.unlink()
    with pytest.raises(InputError, match=r"1 entries of train.txt are missing, case0005_slice002 first"):
        open_dataset(settings_of("transunet", preprocessed, "data.split.val=[]"))
    shutil.rmtree(preprocessed / "lists")
    dataset = open_dataset(settings_of("transunet", preprocessed, "data.split.val=[]"))
    with pytest.raises(InputError, match=r"slices are missing: 4 found, without \[2\]"):
        cached(dataset.train[0], tmp_path, dataset.labels, SYNAPSE)
    missing.write_bytes(b"PK")
    with pytest.raises(InputError, match="expected an npz file"):
        cached(dataset.train[0], tmp_path, dataset.labels, SYNAPSE)
