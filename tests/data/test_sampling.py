"""Samples: slices and patches that depend only on the seed and the sample number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from scipy import ndimage
from torch.utils.data import DataLoader

from medups.data.cache import cached, prepared, read_cases
from medups.data.sampling import Patches, SampleStream, Slices
from medups.data.transforms import zoom_image, zoom_labels
from medups.errors import InputError
from medups.progress import SilentProgress
from medups.settings.compose import compose
from medups.tasks import VolumeTask
from medups.training.samples import open_patches
from medups.workflows.kinds.volume import source_of, transforms_of
from tests.data.phantom_cases import BTCV, SYNAPSE, synapse_cases

TASK = VolumeTask(SYNAPSE)


def test_a_case_without_organs_is_kept_unless_all_lack_them(phantoms, tmp_path):
    """A mask without organs is a negative example; a run without a single organ has the wrong label set."""
    target = type(SYNAPSE)("bladder", {1: "urinary_bladder"})
    case = cached(synapse_cases(phantoms)["0001"], tmp_path, BTCV, target)
    assert case.foreground.shape == (0, 3)
    image, label = Patches([case], (8, 32, 32)).read(3, seed=0)
    assert image.shape == (8, 32, 32)
    assert not label.any()
    with_organs = cached(synapse_cases(phantoms)["0002"], tmp_path, BTCV, SYNAPSE)
    assert len(open_patches([case, with_organs], (8, 32, 32), 4)) == 8
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
def test_sample_n_depends_only_on_seed_and_n(case, kind):
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
    reseeded = stream(source(), seed=1)
    assert not all(torch.equal(reseeded[n]["image"], expected[n]["image"]) for n in range(8))


def test_prepared_slices_equal_slices_transformed_each_time(phantoms, tmp_path):
    """The published recipe: scaled and resized in the cache, then augmented, against all transforms on each read."""
    settings = compose([f"data.root={phantoms}", "network.size=96", "training.balanced=0.5"])
    transforms = transforms_of(settings)
    assert [spec["_target_"].split(".")[-1] for spec in transforms.specs] == ["ScaleIntensityRanged", "ZoomSliced"]
    cases = list(read_cases(synapse_cases(phantoms).values(), tmp_path, BTCV, SYNAPSE))
    from_cache = SampleStream(
        source_of(settings, transforms, cases, SilentProgress()), transforms.per_sample, TASK, 0, 64
    )
    combined = Compose([*transforms.cached.transforms, *transforms.per_sample.transforms])
    fresh = SampleStream(Slices(cases, balanced=0.5), combined, TASK, 0, 64)
    for n in range(64):
        for key in ("image", "label"):
            assert torch.equal(from_cache[n][key], fresh[n][key])


def test_slices_are_prepared_once(case):
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


def test_balanced_slices_show_organs_equally_often(case):
    """The rarest organ is in at least its share of balanced slices, and in more than without balancing."""
    organs = np.setdiff1d(case.label, [0])
    rarest = min(organs, key=lambda organ: (case.label[:] == organ).any((1, 2)).sum())

    def share(balanced):
        source = Slices([case], balanced)
        return np.mean([(source.read(n, seed=0)[1] == rarest).any() for n in range(400)])

    assert share(1.0) > 1 / len(organs) - 0.05
    assert share(1.0) > share(0.0)


def test_patches_favor_organs_and_may_exceed_the_volume(case):
    source = Patches([case], (32, 80, 32))
    image, label = source.read(0, seed=0)
    assert image.shape == label.shape == (32, 80, 32)
    assert np.array_equal(image[-1], image[case.image.shape[0] - 1])  # the border is replicated
    small = (4, 8, 8)
    source = Patches([case], small)
    hits = np.mean([source.read(n, seed=0)[1].any() for n in range(200)])
    contains_organ = ndimage.maximum_filter(case.label[:] > 0, small, mode="constant")
    anywhere = contains_organ[2:-1, 4:-3, 4:-3].mean()  # of patches inside the volume
    assert anywhere < 0.4
    assert hits > 0.5  # half of them are centered on an organ, the others anywhere


@pytest.mark.parametrize(("n", "goal"), [(512, 224), (512, 512), (101, 64), (64, 224), (7, 5)])
def test_resizing_slices_matches_scipy_zoom(rng, n, goal):
    image, label = rng.standard_normal((n, n + 3)).astype(np.float32), rng.integers(0, 9, (n, n + 3)).astype(np.uint8)
    factors = goal / n, (goal + 2) / (n + 3)
    expected = ndimage.zoom(image, factors, order=3)
    np.testing.assert_allclose(zoom_image(image, (goal, goal + 2)), expected, atol=1e-5)
    np.testing.assert_array_equal(zoom_labels(label, (goal, goal + 2)), ndimage.zoom(label, factors, order=0))
