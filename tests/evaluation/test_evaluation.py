"""Means and their counts; a real pair gives the known numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from medups.data.labels import LabelSet, label_set
from medups.data.volumes import Volume
from medups.data.volumes.grid import resampled_to
from medups.errors import InputError
from medups.evaluation import evaluate, find_pairs
from medups.evaluation.nnunet import dice_by_case, nnunet_summary
from tests.scans import write_nifti

EIGHT = label_set("synapse8").names
TWO = LabelSet("two", {1: "liver", 2: "spleen"})


def score(pairs, protocol, organs=("liver", "spleen"), pred=TWO, label=TWO):
    return evaluate(pairs, lambda _: pred, lambda _: label, organs, protocol, lambda _: None).summary()


@pytest.fixture
def pairs(tmp_path):
    """Case 1: liver correct, spleen missed. Case 2: half the liver, spleen hallucinated. Case 3: spleen absent."""
    liver, spleen = np.zeros((2, 4, 4, 8), np.uint8)
    liver[:2], spleen[3] = 1, 2
    half = liver.copy()
    half[..., 4:] = 0
    preds = {"img0001": liver, "img0002": half + spleen, "img0003": liver}
    labels = {"label0001": liver + spleen, "label0002": liver, "label0003": liver}
    for folder, masks in (("pred", preds), ("label", labels)):
        for name, mask in masks.items():
            write_nifti(tmp_path / folder / f"{name}.nii.gz", mask, np.diag([1.0, 2, 5, 1]))
    return find_pairs(tmp_path / "pred", tmp_path / "label")[0]


def test_physical_means_distinguish_missed_from_absent(pairs):
    summary = score(pairs, "physical")
    assert summary["n_cases"] == 3
    assert summary["hd95_unit"] == "mm"
    liver, spleen = summary["organs"]["liver"], summary["organs"]["spleen"]
    assert liver["dice"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert liver["n"] == 3
    assert spleen == {
        "dice": 0.0, "hd95": None, "n": 1, "n_hd95": 0, "n_missed": 1, "n_hallucinated": 1, "n_absent": 1,
        "hallucinated_ml": pytest.approx(4 * 8 * 10 / 1000), "iou": 0.0, "recall": 0.0, "precision": None,
        "surface_dice": 0.0, "assd": None, "hd": None, "hd95_directed": None, "volume_error": -1.0,
    }  # fmt: skip
    assert summary["mean"]["hd95"] == liver["hd95"]
    assert liver["recall"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert liver["precision"] == 1
    assert liver["volume_error"] == pytest.approx(-1 / 6)
    assert summary["tolerance_mm"] == 2


def test_synapse_means_follow_the_published_rule(pairs):
    spleen = score(pairs, "synapse")["organs"]["spleen"]
    assert spleen["dice"] == pytest.approx((0 + 1 + 0) / 3)
    assert spleen["hd95"] == 0
    assert spleen["n"] == 3
    assert "iou" not in spleen  # the literature's protocol defines Dice and HD95 only


def test_pairs(pairs, tmp_path):
    assert [pair.name for pair in pairs] == ["0001", "0002", "0003"]
    (tmp_path / "pred" / "img0002.nii.gz").unlink()
    assert find_pairs(tmp_path / "pred", tmp_path / "label")[1] == ["0002"]
    (tmp_path / "label" / "label0001.nii.gz").unlink()
    with pytest.raises(InputError, match=r"no label for .*img0001"):
        find_pairs(tmp_path / "pred", tmp_path / "label")


def test_an_organ_that_a_set_lacks(pairs):
    with pytest.raises(InputError, match="label set two: unknown organ 'aorta'"):
        score(pairs, "physical", organs=("aorta",))


def test_the_real_pair_gives_the_known_numbers(real_data):
    """Two runs of another model on one scan; the numbers were computed independently of this code."""
    pairs, _ = find_pairs(real_data / "ct-a" / "labels_v2_rerun.nii.gz", real_data / "ct-a" / "labels_v1.nii.gz")
    sets = label_set("totalsegmentator_v2"), label_set("totalsegmentator_v1")
    organs = score(pairs, "physical", EIGHT, *sets)["organs"]
    expected = {
        "spleen": 0.980, "right_kidney": 0.971, "left_kidney": 0.970, "gallbladder": 0.944,
        "liver": 0.985, "stomach": 0.946, "pancreas": 0.809, "aorta": 0.941,
    }  # fmt: skip
    assert {organ: round(row["dice"], 3) for organ, row in organs.items()} == expected
    assert {organ: round(row["hd95"], 3) for organ, row in organs.items()} == {
        organ: 5.196 if organ == "pancreas" else 3.0 for organ in expected
    }


def test_one_mask_is_drawn_on_its_own_scan(pairs, tmp_path):
    """In a folder of scans, the scan with the same name; otherwise the given scan."""
    paths = tmp_path / "pred" / "img0002.nii.gz", tmp_path / "label" / "label0002.nii.gz"
    assert find_pairs(*paths, tmp_path / "pred")[0][0].image == paths[0]
    assert find_pairs(*paths, paths[1])[0][0].image == paths[1]
    paths[0].rename(tmp_path / "img0009.nii.gz")
    with pytest.raises(InputError, match=r"pred: no image for .*img0009.nii.gz; the folder has 0001, 0003"):
        find_pairs(tmp_path / "img0009.nii.gz", paths[1], tmp_path / "pred")


def test_the_summary_of_nnunet(pairs, tmp_path):
    """The counts by hand; without any liver and spleen, NaN; read again, the Dice of every organ and case."""
    evaluation = evaluate(pairs, lambda _: TWO, lambda _: TWO, ["liver", "spleen"], "physical", lambda _: None)
    text = nnunet_summary(evaluation, {pair.name: pair for pair in pairs}, dict.fromkeys(evaluation.cases, 4 * 4 * 8))
    content = json.loads(text)
    liver = content["metric_per_case"][1]["metrics"]["1"]
    assert liver == {
        "Dice": pytest.approx(2 / 3), "IoU": 0.5, "TP": 32, "FP": 0, "FN": 32, "TN": 64, "n_pred": 32, "n_ref": 64,
    }  # fmt: skip
    assert content["metric_per_case"][1]["metrics"]["2"]["Dice"] == 0  # hallucinated
    assert np.isnan(content["metric_per_case"][2]["metrics"]["2"]["Dice"])
    assert content["mean"]["1"]["Dice"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert content["mean"]["2"]["Dice"] == 0
    assert content["foreground_mean"]["Dice"] == pytest.approx((1 + 2 / 3 + 1) / 6)
    table = dice_by_case(content, tmp_path / "summary.json")
    assert table["liver"] == pytest.approx({"img0001": 1, "img0002": 2 / 3, "img0003": 1})
    del content["organs"]
    assert list(dice_by_case(content, tmp_path / "summary.json")) == ["1", "2"]
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1, "spleen": 2}}')
    assert list(dice_by_case(content, tmp_path / "summary.json")) == ["liver", "spleen"]
    for name in ("1.3.6.1.4.1", "1.3.6.1.4.2"):  # names with dots are different cases
        content["metric_per_case"].append({**content["metric_per_case"][0], "prediction_file": f"masks/{name}.nii.gz"})
    assert {"1.3.6.1.4.1", "1.3.6.1.4.2"} <= set(dice_by_case(content, tmp_path / "summary.json")["liver"])
    content["metric_per_case"].append(content["metric_per_case"][0])
    with pytest.raises(InputError, match="is listed twice"):
        dice_by_case(content, tmp_path / "summary.json")
    content["metric_per_case"][0]["metrics"]["1"] = {}
    with pytest.raises(InputError, match="damaged summary of nnU-Net"):
        dice_by_case(content, tmp_path / "summary.json")


def test_a_prediction_on_another_grid(tmp_path, rng):
    """Refused unless asked for; then as SimpleITK resamples it: finer, cropped, and with other axes."""
    label = np.zeros((12, 14, 10), np.uint8)
    label[2:9, 3:11, 2:8] = 1
    affine = np.diag([2.0, 1.5, 3, 1])
    coarse = np.zeros((9, 8, 11), np.uint8)
    coarse[1:7, 2:6, 1:9] = rng.integers(1, 3, (6, 4, 8))
    other = np.array([[0, -2.2, 0, 18.0], [0, 0, 1.7, 1], [2.6, 0, 0, 2], [0, 0, 0, 1]])
    write_nifti(tmp_path / "label" / "label1.nii.gz", label, affine)
    write_nifti(tmp_path / "pred" / "img1.nii.gz", coarse, other)
    pairs, _ = find_pairs(tmp_path / "pred", tmp_path / "label")
    with pytest.raises(InputError, match="img1"):
        score(pairs, "physical")
    results = []
    evaluate(pairs, lambda _: TWO, lambda _: TWO, ["liver", "spleen"], "physical", results.append, resample=True)
    images = [sitk.ReadImage(str(path)) for path in (pairs[0].pred, pairs[0].label)]
    expected = sitk.GetArrayFromImage(sitk.Resample(*images, sitk.Transform(), sitk.sitkNearestNeighbor))
    # SimpleITK's axes are slice, row, column of the file; the file's run to the right, the front and the head
    canonical = expected[:, ::-1, ::-1]
    assert canonical.any()
    assert (results[0].pred == canonical).mean() > 0.99  # voxels halfway between two may go either way


def test_resampling_reaches_the_rim(tmp_path):
    """A mask of thick slices covers the thin slices of the same field of view, up to both ends."""
    thick = np.arange(1, 5, dtype=np.uint8).reshape(1, 1, 4) * np.ones((2, 2, 1), np.uint8)
    volume = Volume(thick, np.diag([1.0, 1, 5, 1]), "thick")
    affine = np.diag([1.0, 1, 1, 1])
    affine[2, 3] = -2  # the first thick slice reaches from -2.5 to 2.5
    fine = resampled_to(volume, Volume(np.zeros((2, 2, 20), np.uint8), affine, "thin"))
    np.testing.assert_array_equal(fine.data[0, 0], np.repeat([1, 2, 3, 4], 5))
    turned = np.diag([-1.0, 1, 5, 1])
    turned[0, 3] = 1 + 1e-9
    flipped = resampled_to(volume, Volume(np.zeros((2, 2, 4), np.uint8), turned, "flipped"))
    np.testing.assert_array_equal(flipped.data, thick)
