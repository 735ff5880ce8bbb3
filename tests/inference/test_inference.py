"""Slice-wise inference against the published protocol, sliding windows against the network on the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from scipy.stats import entropy

from medups.inference import SliceInferer, WindowInferer
from medups.inference.blending import Blender, IdsOfRows
from medups.inference.mirroring import mirrored
from medups.inference.postprocess import postprocess


def test_slices_reproduce_the_published_test(golden):
    numbers = golden("transunet_protocol")

    def network(x):
        return torch.cat([-50 * (x - c / 8) ** 2 for c in range(9)], 1)

    done = []
    mask = SliceInferer(size=64, batch_size=4)(numbers["image"], network, progress=done.append)
    np.testing.assert_array_equal(mask, numbers["pred"])
    assert done == [4 / 6, 1]


def test_slices_with_little_memory(golden):
    """Fewer slices at a time give the same mask, and one that does not fit is an error."""
    numbers = golden("transunet_protocol")
    most = 2

    def network(x):
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.cat([-50 * (x - c / 8) ** 2 for c in range(9)], 1)

    done = []
    with pytest.warns(UserWarning, match="slices per pass reduced to 2"):
        mask = SliceInferer(size=64, batch_size=4)(numbers["image"], network, progress=done.append)
    np.testing.assert_array_equal(mask, numbers["pred"])
    assert done == [2 / 6, 4 / 6, 1]
    most = 0
    with pytest.warns(UserWarning, match="reduced to 1"), pytest.raises(torch.OutOfMemoryError):
        SliceInferer(size=64, batch_size=2)(numbers["image"], network)


def test_windows_of_a_pointwise_network_equal_the_network(rng):
    image = rng.random((9, 20, 17)).astype(np.float32)

    def network(x):
        return torch.cat([(0.4 - x).abs() * -1, (0.8 - x).abs() * -1], 1)

    done = []
    inferer = WindowInferer((8, 8, 8), overlap=0.5, sw_batch_size=3)
    mask = inferer(image, network, progress=done.append)
    np.testing.assert_array_equal(mask, network(torch.from_numpy(image)[None, None])[0].argmax(0).numpy())
    assert done == sorted(done)
    assert done[-1] == 1


def test_windows_to_another_grid_follow_the_logits():
    image = np.linspace(0, 1, 8, dtype=np.float32)[:, None, None].repeat(4, 1).repeat(4, 2)
    mask = WindowInferer((8, 4, 4))(image, lambda x: torch.cat([0.5 - x, x - 0.5], 1), shape=(16, 4, 4))
    assert mask[:, 0, 0].tolist() == [0] * 8 + [1] * 8


def a_network(classes=3):
    torch.manual_seed(0)
    layers = [torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, classes, 3, padding=1)]
    return torch.nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("shape", "roi_size", "overlap"),
    [((23, 20, 17), (8, 8, 8), 0.5), ((30, 29, 9), (7, 5, 4), 0.25), ((5, 20, 6), (8, 8, 8), 0.5),
     ((8, 9, 28), (8, 8, 8), 0.5), ((19, 21, 12), (4, 6, 5), 0.7)],
)  # fmt: skip
def test_windows_equal_those_of_monai(rng, shape, roi_size, overlap):
    """Bit by bit: the rows in memory, taking turns, change nothing."""
    image, network = rng.standard_normal(shape).astype(np.float32), a_network()
    with torch.inference_mode():
        expected = sliding_window_inference(
            torch.from_numpy(image)[None, None],
            roi_size,
            1,
            network,
            overlap,
            mode="gaussian",
            padding_mode="replicate",
        )[0]
    inferer = WindowInferer(roi_size, overlap, 1)
    logits = []
    with pytest.MonkeyPatch.context() as patch:
        add = IdsOfRows.add
        patch.setattr(IdsOfRows, "add", lambda self, row: (logits.append(row.clone()), add(self, row)))
        ids = inferer(image, network)
    assert torch.equal(torch.stack(logits, 1), expected)
    np.testing.assert_array_equal(ids, expected.argmax(0).numpy())
    np.testing.assert_array_equal(WindowInferer(roi_size, overlap, 3)(image, network), ids)
    four_strips = inferer.memory_bytes(shape, 3) / 4 / 2**30
    np.testing.assert_array_equal(WindowInferer(roi_size, overlap, 1, four_strips)(image, network), ids)


@pytest.mark.parametrize("target", [(31, 20, 17), (9, 13, 30), (23, 8, 17), (1, 5, 5), (23, 20, 17)])
def test_rows_are_resized_like_the_whole_volume(rng, target):
    image, network = rng.standard_normal((23, 20, 17)).astype(np.float32), a_network()
    with torch.inference_mode():
        logits = sliding_window_inference(
            torch.from_numpy(image)[None, None], (8, 8, 8), 1, network, 0.5, mode="gaussian", padding_mode="replicate"
        )
    whole = torch.nn.functional.interpolate(logits, size=target, mode="trilinear", align_corners=False)[0]
    ids = WindowInferer((8, 8, 8))(image, network, shape=target)
    np.testing.assert_array_equal(WindowInferer((8, 8, 8), blending_gib=1e-5)(image, network, shape=target), ids)
    # rounding decides only where two classes are as likely
    differing = ids != whole.argmax(0).numpy()
    margins = whole.sort(0, descending=True).values
    assert float((margins[0] - margins[1])[torch.from_numpy(differing)].sum()) < 1e-4


def test_out_of_memory_takes_fewer_windows_and_changes_nothing(rng):
    """The network fails for more than one window at a time, as a full GPU would."""
    image, network = rng.standard_normal((20, 18, 17)).astype(np.float32), a_network()
    expected = WindowInferer((8, 8, 8), sw_batch_size=4)(image, network)

    def tight(windows):
        if len(windows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(windows)

    with pytest.warns(UserWarning, match="out of memory: windows per pass reduced to 1"):
        ids = WindowInferer((8, 8, 8), sw_batch_size=4)(image, tight)
    np.testing.assert_array_equal(ids, expected)

    add, calls = Blender.add, []

    def full_once(self, box, logits):  # the second window of a batch
        calls.append(box)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        add(self, box, logits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Blender, "add", full_once)
        with pytest.warns(UserWarning, match="windows per pass reduced to 2"):
            ids = WindowInferer((8, 8, 8), sw_batch_size=4)(image, network)
    np.testing.assert_array_equal(ids, expected)

    def full(windows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        WindowInferer((8, 8, 8))(image, full)


def test_uncertainty_is_the_entropy_of_the_class_probabilities(rng):
    """Against SciPy's entropy: by slices at their own size, by windows, in strips, and on another grid."""
    network = torch.nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([-2.0, 0.5, 3]).reshape(3, 1, 1, 1))
    image = rng.standard_normal((3, 10, 8)).astype(np.float32)
    percent = np.full(image.shape, 255, np.uint8)
    SliceInferer((10, 8), batch_size=2)(image, network, uncertainty=percent)
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(image)[:, None]).softmax(1).numpy()
    np.testing.assert_allclose(percent, 100 * entropy(probabilities, axis=1) / np.log(3), atol=0.51)
    assert len(np.unique(percent)) > 20

    image, network = rng.standard_normal((14, 13, 9)).astype(np.float32), a_network()
    logits = sliding_window_inference(
        torch.from_numpy(image)[None, None], (8, 8, 8), 1, network, 0.5, mode="gaussian", padding_mode="replicate"
    )
    for shape in (image.shape, (20, 9, 12)):
        resized = torch.nn.functional.interpolate(logits, size=shape, mode="trilinear", align_corners=False)
        expected = 100 * entropy(resized.detach().softmax(1).numpy()[0], axis=0) / np.log(3)
        for gib in (2, 1e-5):
            percent = np.full(shape, 255, np.uint8)
            WindowInferer((8, 8, 8), blending_gib=gib)(image, network, shape=shape, uncertainty=percent)
            np.testing.assert_allclose(percent, expected, atol=0.51)


def test_mirroring_is_the_mean_over_flips():
    """Of a network without symmetry; a symmetric one gives the same as without."""
    torch.manual_seed(0)
    for dims, layer in ((2, torch.nn.Conv2d(1, 2, 3, padding=1)), (3, torch.nn.Conv3d(1, 2, 3, padding=1))):
        image = torch.randn(2, 1, *(5, 6, 7)[:dims])
        with torch.inference_mode():
            result = mirrored(layer)(image)
            flipped = layer.weight.data.clone()
            for axis in range(2, 2 + dims):  # the mean over flips of the image is the mean over flips of the kernel
                flipped = (flipped + flipped.flip(axis)) / 2
            expected = getattr(torch.nn.functional, f"conv{dims}d")(image, flipped, layer.bias, padding=1)
            torch.testing.assert_close(result, expected)


def test_the_largest_component_and_no_holes():
    ids = np.zeros((7, 9, 9), np.uint8)
    ids[1:6, 1:6, 1:6] = 1
    ids[3, 3, 3] = 0  # a hole
    ids[2, 2, 2] = 2  # another organ inside, with an island elsewhere
    ids[0, 8, 8] = 1  # an island
    ids[6, 8, 7:9] = 2
    organs = {1: "liver", 2: "tumor"}
    np.testing.assert_array_equal(postprocess(ids, organs), ids)
    expected = ids.copy()
    expected[0, 8, 8], expected[3, 3, 3] = 0, 1
    np.testing.assert_array_equal(postprocess(ids, organs, ["liver"], ["liver"]), expected)
    expected = ids.copy()
    expected[2, 2, 2] = 0
    np.testing.assert_array_equal(postprocess(ids, organs, ["tumor"]), expected)
