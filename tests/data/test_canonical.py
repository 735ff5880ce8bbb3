"""Conversion to canonical orientation and back, for every possible orientation."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from medups.data.volumes import Grid, same_grid
from medups.data.volumes.resize import resize_image, resize_labels, resized_shape

CODES = [
    "".join(flip[axis] for axis, flip in zip(order, signs, strict=True))
    for order in permutations(range(3))
    for signs in product(("RAS", "LPI"), repeat=3)
]


@pytest.mark.parametrize("codes", CODES)
def test_every_orientation_becomes_canonical(codes, rng):
    """An asymmetric volume, stored with its axes in any order and direction, always reads the same."""
    canonical = rng.standard_normal((4, 5, 6))  # [toward head, toward back, toward left]
    change = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("SPL"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    stored = nib.orientations.apply_orientation(canonical, change)
    spl = np.array([[0, 0, -0.7, 3], [0, -0.8, 0, 5], [3.0, 0, 0, -9], [0, 0, 0, 1]])
    affine = spl @ nib.orientations.inv_ornt_aff(change, canonical.shape)
    grid = Grid(stored.shape, affine)
    np.testing.assert_array_equal(grid.to_canonical(stored), canonical)
    np.testing.assert_array_equal(grid.to_file(canonical), stored)
    assert grid.spacing == pytest.approx((3, 0.8, 0.7))
    assert grid.canonical_shape == (4, 5, 6)


def test_resize_keeps_the_extent():
    assert resized_shape((10, 20, 30), (5, 1, 1), (2.5, 2, 1)) == (20, 10, 30)
    assert resized_shape((10, 20, 30), (5, 1, 1), None) == (10, 20, 30)
    ramp = np.arange(8, dtype=np.float32)[:, None, None] + np.zeros((8, 2, 2), np.float32)
    np.testing.assert_allclose(resize_image(ramp, (4, 2, 2))[:, 0, 0], [0.5, 2.5, 4.5, 6.5])
    labels = np.repeat(np.array([1, 2], np.uint8), 2)[:, None, None]
    assert resize_labels(labels, (8, 1, 1)).ravel().tolist() == [1] * 4 + [2] * 4


def test_grids_are_compared_at_the_corners():
    affine = np.diag([1.0, 1, 2, 1])
    drifted = affine.copy()
    drifted[0, 0] = 1.002
    assert same_grid(affine, drifted, (40, 40, 40))
    assert not same_grid(affine, drifted, (400, 40, 40))
