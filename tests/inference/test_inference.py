"""Slice-wise inference against the published protocol, sliding windows against the network on the whole volume."""

from __future__ import annotations

import numpy as np
import torch

from medups.inference import SliceInferer, WindowInferer


def test_slices_reproduce_the_published_test(golden):
    numbers = golden("transunet_protocol")

    def network(x):
        return torch.cat([-50 * (x - c / 8) ** 2 for c in range(9)], 1)

    done = []
    mask = SliceInferer(size=64, batch_size=4)(numbers["image"], network, progress=done.append)
    np.testing.assert_array_equal(mask, numbers["pred"])
    assert done == [4 / 6, 1]


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
