"""Label sets are matched by organ name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medups.data.labels import LabelSet, label_set, list_label_sets, organ_names
from medups.data.volumes import Volume
from medups.data.volumes.masks import labels_file, write_masks
from medups.errors import InputError


def test_shipped_sets_have_the_documented_ids():
    assert list_label_sets() == ["btcv13", "synapse8", "totalsegmentator_v1", "totalsegmentator_v2"]
    eight = ["spleen", "right_kidney", "left_kidney", "gallbladder", "liver", "stomach", "pancreas", "aorta"]
    ids = {name: [label_set(name).id_of(organ) for organ in eight] for name in list_label_sets()}
    assert ids["totalsegmentator_v1"] == [1, 2, 3, 4, 5, 6, 10, 7]
    assert ids["totalsegmentator_v2"] == [1, 2, 3, 4, 5, 6, 7, 52]
    assert ids["btcv13"] == [1, 2, 3, 4, 6, 7, 11, 8]
    assert ids["synapse8"] == [7, 4, 3, 2, 5, 8, 6, 1]
    assert len(label_set("totalsegmentator_v1").organs) == 104
    assert len(label_set("totalsegmentator_v2").organs) == 117


def test_conversion_matches_names():
    raw = np.arange(14)
    converted = label_set("btcv13").convert(raw, label_set("synapse8"))
    assert converted.tolist() == [0, 7, 4, 3, 2, 0, 5, 8, 1, 0, 0, 6, 0, 0]


def test_ids_above_the_maximum():
    with pytest.raises(InputError, match="label set far: ids up to 255 can be learned, got 256"):
        label_set("btcv13").convert(np.arange(3), LabelSet("far", {256: "spleen"}))


def test_unknown_ids_are_reported():
    with pytest.raises(InputError, match=r"scan: label ids \[14, 99\] are not in the set 'btcv13'"):
        label_set("btcv13").check_ids(np.array([0, 1, 14, 99]), "scan")


def test_table_beside_a_mask(tmp_path):
    mask = tmp_path / "case.nii.gz"
    ids = np.eye(3, dtype=np.uint8)[None]
    write_masks({"nifti": mask}, ids, Volume(ids, np.eye(4), "scan"), label_set("synapse8"))
    assert labels_file(mask).name == "case.labels.json"
    assert json.loads(labels_file(mask).read_text())["5"] == "liver"
    assert label_set(str(labels_file(mask))).organs == label_set("synapse8").organs


def test_unknown_names():
    with pytest.raises(InputError, match="did you mean 'synapse8'"):
        label_set("synapse")
    with pytest.raises(InputError, match="unknown organ 'livr'; did you mean 'liver'"):
        organ_names("spleen,livr", ["liver", "spleen", "tumor"])
    assert organ_names("spleen, tumor", ["liver", "spleen", "tumor"]) == ["spleen", "tumor"]
    assert organ_names("synapse8", []) == label_set("synapse8").names
    with pytest.raises(InputError, match="unique"):
        LabelSet("mine", {1: "liver", 2: "liver"})


@pytest.mark.parametrize("ignored", [9, 255, -1])
def test_volumes_cannot_ignore_ids(ignored):
    """They would become background, or another organ."""
    labels = LabelSet("own", {1: "liver", 2: "spleen"}, frozenset({ignored}))
    with pytest.raises(InputError, match="ids to ignore are supported for pictures only"):
        labels.convert(np.array([0, 1, 2]), LabelSet("target", {1: "spleen"}))
