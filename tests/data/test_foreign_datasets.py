"""Datasets as other programs and people leave them: hidden files, text ids, one file name for all, healthy cases."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from medups.data.dataset import open_dataset
from medups.errors import InputError
from medups.settings.compose import compose
from tests.cli.commands import medups

LABELS = {"background": 0, "liver": 1, "tumor": 2}
APPLE_DOUBLE = bytes([0, 5, 22, 7]) + bytes(120)


def write_scan(path, seed=0, ids=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(seed).integers(-200, 300, (16, 16, 6)).astype(np.int16)
    if ids:
        data = np.zeros((16, 16, 6), np.uint8)
        data[2:8, 2:8, 1:5], data[9:14, 9:14, 1:5] = 1, 2
    nib.save(nib.Nifti1Image(data, np.diag([-2.0, -2.0, 3.0, 1.0])), path)


@pytest.fixture
def nnunet(tmp_path):
    root = tmp_path / "Dataset001"
    for n in range(3):
        write_scan(root / "imagesTr" / f"c_{n:03}_0000.nii.gz", n)
        write_scan(root / "labelsTr" / f"c_{n:03}.nii.gz", ids=True)
    about = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 3, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(about))
    return root


def listing(root, kind="nnunet"):
    return open_dataset(compose([f"data={kind}", f"data.root={root}", "data.split.val=[]"]).data)


def rewrite(root, **changes):
    path = root / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_hidden_files_of_macos_are_skipped(nnunet):
    for place in ("imagesTr/._c_000_0000.nii.gz", "labelsTr/._c_000.nii.gz"):
        (nnunet / place).write_bytes(APPLE_DOUBLE)
    assert listing(nnunet).names["train"] == ["c_000", "c_001", "c_002"]


def test_one_case_in_two_formats_is_refused(nnunet):
    write_scan(nnunet / "imagesTr" / "c_000_0000.nii", seed=77)
    with pytest.raises(InputError, match=r"c_000_0000\.nii.* keep one"):
        listing(nnunet)


@pytest.mark.parametrize("ids", [{"liver": "1", "tumor": "2"}, {"liver": 1, "tumor": "2"}])
def test_ids_as_text_are_numbers(nnunet, ids):
    rewrite(nnunet, labels={"background": "0", **ids})
    assert listing(nnunet).labels.organs == {1: "liver", 2: "tumor"}


@pytest.mark.parametrize("ids", [{"liver": "one"}, {"liver": 1.5}, {"liver": -1}, {"liver": True}])
def test_ids_that_are_not_whole_numbers_are_refused(nnunet, ids):
    rewrite(nnunet, labels={"background": 0, **ids})
    with pytest.raises(InputError, match=r"dataset\.json.*liver|dataset\.json.*ids"):
        listing(nnunet)


def test_a_byte_order_mark(nnunet):
    path = nnunet / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert listing(nnunet).labels.organs == {1: "liver", 2: "tumor"}


def test_another_file_ending_is_refused_by_name(nnunet):
    rewrite(nnunet, file_ending=".mha")
    with pytest.raises(InputError, match=r"file_ending \.mha is not supported; convert the files to \.nii\.gz"):
        listing(nnunet)


@pytest.fixture
def one_name(tmp_path):
    """KiTS19: every scan is imaging.nii.gz in a folder of its case."""
    root = tmp_path / "kits"
    entries = []
    for n in range(3):
        write_scan(root / f"case_{n:05}" / "imaging.nii.gz", n)
        write_scan(root / f"case_{n:05}" / "segmentation.nii.gz", ids=True)
        entries.append({"image": f"case_{n:05}/imaging.nii.gz", "label": f"case_{n:05}/segmentation.nii.gz"})
    ids = {str(number): name for name, number in LABELS.items()}
    (root / "dataset.json").write_text(json.dumps({"labels": ids, "training": entries}))
    return root


def test_cases_of_one_file_name_are_named_by_their_folders(one_name):
    dataset = listing(one_name, "datalist")
    folders = {case.name: case.image.parent.name for case in dataset.train}
    assert folders == {"00000": "case_00000", "00001": "case_00001", "00002": "case_00002"}


def test_two_listed_cases_of_one_name_are_refused(one_name):
    case = "{name: a, image: %s/case_00000/imaging.nii.gz, label: %s/case_00000/segmentation.nii.gz}"
    both = ",".join(case % (one_name, one_name) for _ in range(2))
    settings = compose(["data=list", f"data.cases=[{both}]", "data.source_labels=btcv13", "data.split.train=[a]"])
    with pytest.raises(InputError, match="two cases are named a"):
        open_dataset(settings.data)


def test_the_same_entry_twice_is_refused(one_name):
    content = json.loads((one_name / "dataset.json").read_text())
    rewrite(one_name, training=[*content["training"], content["training"][0]])
    with pytest.raises(InputError, match="two entries are named 00000"):
        listing(one_name, "datalist")


def test_folds_of_auto3dseg(one_name):
    """``fold`` of an entry is the fold that it validates; without it, folds are even shares."""
    content = json.loads((one_name / "dataset.json").read_text())
    entries = [{**entry, "fold": n} for entry, n in zip(content["training"], (1, 0, 1), strict=True)]
    rewrite(one_name, training=entries)
    root = ["data=datalist", f"data.root={one_name}", "data.split.val=[]"]
    dataset = open_dataset(compose([*root, "fold=1"]).data)
    assert dataset.names["val"] == ["00000", "00002"]
    assert dataset.names["train"] == ["00001"]


def test_keys_that_nothing_reads_are_noted(one_name):
    content = json.loads((one_name / "dataset.json").read_text())
    entries = [{**entry, "clinical": {"age": 60}} for entry in content["training"]]
    rewrite(one_name, training=entries, nnunet_preprocessing="none")
    (note,) = listing(one_name, "datalist").notes
    assert note == f"{one_name / 'dataset.json'}: ignored keys: nnunet_preprocessing, clinical"


@pytest.mark.parametrize("healthy", [(1,), (0, 1, 2)])
def test_a_healthy_case_is_kept_unless_all_are(nnunet, tmp_path, capsys, healthy):
    """An empty mask teaches what background is; a dataset without any organ has the wrong label set."""
    for n in healthy:
        path = nnunet / "labelsTr" / f"c_{n:03}.nii.gz"
        mask = nib.load(path)
        nib.save(nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine), path)
    recipe = [
        "data=nnunet", f"data.root={nnunet}", f"label_set={nnunet / 'dataset.json'}", f"data.cache={tmp_path / 'c'}",
        f"output={tmp_path / 'run'}", "data.split.val=[]", "network=transunet_tiny", "upsampler=bilinear",
        "training=quick", "network.size=32", "training.workers=0", "training.steps=2",
    ]  # fmt: skip
    trained = medups("train", *recipe)
    error = capsys.readouterr().err
    if len(healthy) == 1:
        assert trained == 0
        assert (tmp_path / "run" / "bundle" / "models" / "model.pt").is_file()
    else:
        assert trained == 2
        assert "no training case contains any organ of label_set" in error
        assert not (tmp_path / "run").exists()
