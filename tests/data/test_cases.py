"""The Synapse layout, splits, cache and samples."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from scipy import ndimage
from torch.utils.data import DataLoader

from medups.data.cache import cached, entries, prepared, read_cases
from medups.data.cases import case_key
from medups.data.dataset import fold_of, open_dataset
from medups.data.formats.synapse import synapse
from medups.data.labels import label_set
from medups.data.parallel import in_parallel
from medups.data.sampling import Patches, SampleStream, Slices
from medups.data.transforms import zoom_image, zoom_labels
from medups.errors import InputError
from medups.progress import SilentProgress
from medups.settings import compose
from medups.settings.schema import DataSettings, SplitSettings
from medups.tasks import VolumeTask
from medups.training.samples import open_patches
from medups.workflows.setup import source_of, transforms_of

BTCV, SYNAPSE = label_set("btcv13"), label_set("synapse8")
TASK = VolumeTask(SYNAPSE)


def raw(root, **split):
    """The settings of raw BTCV files; parts of the split are None by default."""
    return DataSettings(root=str(root), source_labels="btcv13", split=SplitSettings(**split))


def synapse_cases(root):
    return synapse(DataSettings(root=str(root))).cases


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


@pytest.fixture
def case(phantoms, tmp_path):
    return cached(synapse_cases(phantoms)["0001"], tmp_path / "cache", BTCV, SYNAPSE)


def test_cache_holds_the_canonical_case(phantoms, case):
    """Independent reading with nibabel: canonical axes, Synapse ids."""
    image = nib.load(phantoms / "img" / "img0001.nii.gz")
    label = nib.load(phantoms / "label" / "label0001.nii.gz")
    turned = nib.as_closest_canonical(image)  # RAS
    expected = np.asanyarray(turned.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(case.image, expected)
    raw = np.asanyarray(nib.as_closest_canonical(label).dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(case.label[:] == SYNAPSE.id_of("liver"), raw == BTCV.id_of("liver"))
    assert case.spacing == pytest.approx(nib.affines.voxel_sizes(turned.affine)[::-1])
    assert (case.label[:][tuple(case.foreground.T)] > 0).all()


def test_a_replaced_file_is_not_served_stale(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    first = cached(synapse_cases(tmp_path / "data")["0001"], tmp_path / "cache", BTCV, SYNAPSE)
    for kind in ("img", "label"):
        shutil.copy(tmp_path / "data" / kind / f"{kind}0002.nii.gz", tmp_path / "data" / kind / f"{kind}0001.nii.gz")
    second = cached(synapse_cases(tmp_path / "data")["0001"], tmp_path / "cache", BTCV, SYNAPSE)
    assert not np.array_equal(first.image[:], second.image[:])


def test_an_entry_can_be_read_by_others(tmp_path):
    """As any file that the user makes; temporary folders are private."""
    before = os.umask(0o022)
    try:
        entries.open_entry(tmp_path / "cache" / "entry", lambda aside: {"made": True})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "cache" / "entry").stat().st_mode) == 0o755


def test_an_entry_that_another_process_takes_away(tmp_path, monkeypatch):
    """Both found it damaged; the other removes what this one has put right."""
    move, turns = entries._move, []

    def move_and_lose(aside, entry):
        move(aside, entry)
        if len(turns) == 1:
            shutil.rmtree(entry)

    def make(aside):
        turns.append(aside)
        return {"turn": len(turns)}

    monkeypatch.setattr(entries, "_move", move_and_lose)
    assert entries.open_entry(tmp_path / "entry", make)["turn"] == 2


@pytest.mark.parametrize("damage", ["a flipped byte", "a cut file", "a lost file", "a lost table"])
def test_a_damaged_entry_is_rebuilt(phantoms, tmp_path, damage):
    def read():
        return cached(synapse_cases(phantoms)["0001"], tmp_path, BTCV, SYNAPSE)

    expected = [read().image[:], read().label[:]]
    (entry,) = tmp_path.iterdir()
    image = entry / "image.b2nd"
    content = bytearray(image.read_bytes())
    if damage == "a flipped byte":
        content[len(content) // 2] ^= 1
        image.write_bytes(content)
    elif damage == "a cut file":
        image.write_bytes(content[:-100])
    else:
        (image if damage == "a lost file" else entry / "about.json").unlink()
    np.testing.assert_array_equal(read().image, expected[0])
    np.testing.assert_array_equal(read().label, expected[1])
    assert list(tmp_path.iterdir()) == [entry]


def test_settings_do_not_share_an_entry(phantoms, tmp_path):
    case = synapse_cases(phantoms)["0001"]
    fine = cached(case, tmp_path, BTCV, SYNAPSE)
    coarse = cached(case, tmp_path, BTCV, SYNAPSE, spacing=[2 * mm for mm in fine.spacing])
    assert coarse.image.shape == tuple(n // 2 for n in fine.image.shape)
    assert cached(case, tmp_path, BTCV, SYNAPSE).image.shape == fine.image.shape


def test_many_may_build_one_cache(phantoms, tmp_path):
    """Threads here; what they share is the folder, as processes do."""
    cases = list(synapse_cases(phantoms).values()) * 4
    built = list(in_parallel(lambda case: cached(case, tmp_path, BTCV, SYNAPSE), cases))
    assert [case.name for case in built] == [case.name for case in cases]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(("hours", "stays"), [(2, False), (0, True)])
def test_what_a_killed_process_left_goes_when_it_is_old(phantoms, tmp_path, hours, stays):
    """What is young may be another process at work."""

    def read():
        return cached(synapse_cases(phantoms)["0001"], tmp_path, BTCV, SYNAPSE)

    read()
    (entry,) = tmp_path.iterdir()
    left = tmp_path / f".{entry.name}-a1b2c3d4"
    entry.rename(left)
    then = time.time() - 3600 * hours
    os.utime(left, (then, then))
    read()
    assert left.exists() == stays
    assert entry.exists()


def test_parallel_work_stops_at_an_error():
    begun = []

    def work(n):
        begun.append(n)
        if n == 3:
            raise InputError("three")
        return n

    with pytest.raises(InputError, match="three"):
        list(in_parallel(work, range(1000)))
    assert len(begun) < 20


def test_a_healthy_case_is_kept_unless_all_are(phantoms, tmp_path):
    """A mask without organs is a negative example; a run without a single organ has the wrong label set."""
    target = type(SYNAPSE)("other", {1: "urinary_bladder"})
    case = cached(synapse_cases(phantoms)["0001"], tmp_path, BTCV, target)
    assert case.foreground.shape == (0, 3)
    image, label = Patches([case], (8, 32, 32)).read(3, seed=0)
    assert image.shape == (8, 32, 32)
    assert not label.any()
    sick = cached(synapse_cases(phantoms)["0002"], tmp_path, BTCV, SYNAPSE)
    assert len(open_patches([case, sick], (8, 32, 32), 4)) == 8
    with pytest.raises(InputError, match="no training case contains any organ of label_set"):
        open_patches([case], (8, 32, 32), 4)


def stream(source, seed=0, length=64):
    transform = Compose([RandFlipd(["image", "label"], prob=0.5), RandGaussianNoised("image", prob=0.5)])
    return SampleStream(source, transform, TASK, seed, length)


SOURCES = {
    "slices": lambda case: Slices([case]),
    "balanced slices": lambda case: Slices([case], balanced=0.5),
    "patches": lambda case: Patches([case], (8, 32, 32)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_sample_n_depends_on_seed_and_n_only(case, kind):
    def source():
        return SOURCES[kind](case)

    forward = stream(source())
    expected = [forward[n] for n in range(40)]
    backward = stream(source())
    for n in reversed(range(40)):
        for key in ("image", "label"):
            assert torch.equal(backward[n][key], expected[n][key])
    loader = DataLoader(stream(source(), length=40), batch_size=8, num_workers=2, multiprocessing_context="spawn")
    loaded = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(loaded, torch.stack([sample["image"] for sample in expected]))
    other = stream(source(), seed=1)
    assert not all(torch.equal(other[n]["image"], expected[n]["image"]) for n in range(8))


def test_slices_made_ready_once_are_those_made_each_time(phantoms, tmp_path):
    """Here of the published recipe: scaled and resized in the cache, then turned; against all of it every time."""
    settings = compose([f"data.root={phantoms}", "network.size=96", "training.balanced=0.5"])
    transforms = transforms_of(settings)
    assert [spec["_target_"].split(".")[-1] for spec in transforms.specs] == ["ScaleIntensityRanged", "ZoomSliced"]
    cases = list(read_cases(synapse_cases(phantoms).values(), tmp_path, BTCV, SYNAPSE))
    ready = SampleStream(source_of(settings, transforms, cases, SilentProgress()), transforms.each, TASK, 0, 64)
    whole = Compose([*transforms.once.transforms, *transforms.each.transforms])
    fresh = SampleStream(Slices(cases, balanced=0.5), whole, TASK, 0, 64)
    for n in range(64):
        for key in ("image", "label"):
            assert torch.equal(ready[n][key], fresh[n][key])


def test_slices_are_made_ready_once(case):
    calls = []

    def double(sample):
        calls.append(sample)
        return {**sample, "image": 2 * sample["image"]}

    spec = [{"_target_": "double"}]
    for _ in range(2):
        np.testing.assert_array_equal(prepared(case, Compose([double]), spec).image[:], 2.0 * case.image[:])
        assert len(calls) == case.image.shape[0]
    np.testing.assert_array_equal(prepared(case, Compose([]), [{"_target_": "nothing"}]).image[:], case.image[:])


def test_an_epoch_sees_every_slice_once(case):
    source = Slices([case])
    rows = [source.read(n, seed=0)[0] for n in range(len(source))]
    assert sorted(row.tobytes() for row in rows) == sorted(row.tobytes() for row in case.image[:])


def test_balanced_slices_show_every_organ_as_often(case):
    """Slices are drawn for an organ: the rarest is in at least its share of them; half of that with half the share."""
    organs = np.setdiff1d(case.label, [0])
    rarest = min(organs, key=lambda organ: (case.label[:] == organ).any((1, 2)).sum())

    def share(balanced):
        source = Slices([case], balanced)
        return np.mean([(source.read(n, seed=0)[1] == rarest).any() for n in range(400)])

    assert share(1.0) > 1 / len(organs) - 0.05
    assert share(1.0) > share(0.0)


def test_patches_look_at_organs_and_reach_beyond_small_volumes(case):
    source = Patches([case], (32, 80, 32))
    image, label = source.read(0, seed=0)
    assert image.shape == label.shape == (32, 80, 32)
    assert np.array_equal(image[-1], image[case.image.shape[0] - 1])  # the border repeats
    small = (4, 8, 8)
    source = Patches([case], small)
    hits = np.mean([source.read(n, seed=0)[1].any() for n in range(200)])
    holds = ndimage.maximum_filter(case.label[:] > 0, small, mode="constant")
    anywhere = holds[2:-1, 4:-3, 4:-3].mean()  # of patches that lie inside
    assert anywhere < 0.4
    assert hits > 0.5  # half of them look at an organ, the others where they may


@pytest.mark.parametrize(("n", "goal"), [(512, 224), (512, 512), (101, 64), (64, 224), (7, 5)])
def test_resizing_slices_is_scipys_zoom(rng, n, goal):
    image, label = rng.standard_normal((n, n + 3)).astype(np.float32), rng.integers(0, 9, (n, n + 3)).astype(np.uint8)
    factors = goal / n, (goal + 2) / (n + 3)
    expected = ndimage.zoom(image, factors, order=3)
    np.testing.assert_allclose(zoom_image(image, (goal, goal + 2)), expected, atol=1e-5)
    np.testing.assert_array_equal(zoom_labels(label, (goal, goal + 2)), ndimage.zoom(label, factors, order=0))


def test_folds_share_no_case_and_cover_all():
    names = [f"{n:04d}" for n in range(18)]
    folds = [fold_of(names, fold) for fold in range(5)]
    assert sorted(name for fold in folds for name in fold) == names
    assert {len(fold) for fold in folds} == {3, 4}
    assert fold_of(names[::-1], 2) == folds[2]  # by name, however they are listed
    with pytest.raises(InputError, match="0 to 4, got 5"):
        fold_of(names, 5)
    with pytest.raises(InputError, match="found 4"):
        fold_of(names[:4], 0)
