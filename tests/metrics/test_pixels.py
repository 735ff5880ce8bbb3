"""Counts of pixels against hand-worked cases and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from medups.metrics.pixels import boundary_counts, pixel_counts

IGNORED = 255


def test_a_hand_worked_case():
    reference = np.array([[0, 0, 1, 255], [0, 1, 1, 255]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1, 2], [0, 0, 1, 0]], dtype=np.uint8)
    counts = pixel_counts(prediction, reference, 4, IGNORED)
    assert counts.both.tolist() == [2, 2, 0, 0]
    assert counts.predicted.tolist() == [3, 3, 0, 0]
    assert counts.reference.tolist() == [3, 3, 0, 0]
    assert counts.iou[:2].tolist() == [0.5, 0.5]
    assert np.isnan(counts.iou[2:]).all()
    assert counts.dice[0] == pytest.approx(2 / 3)
    assert counts.recall[0] == pytest.approx(2 / 3)
    assert counts.accuracy == pytest.approx(4 / 6)


def test_counts_of_pictures_add_up_to_those_of_the_set(rng):
    pairs = [[rng.integers(0, 5, (9, 11)).astype(np.uint8) for _ in range(2)] for _ in range(3)]
    total = sum((pixel_counts(*pair, 5, IGNORED) for pair in pairs[1:]), pixel_counts(*pairs[0], 5, IGNORED))
    joined = pixel_counts(*(np.concatenate(masks) for masks in zip(*pairs, strict=True)), 5, IGNORED)
    assert (total.both == joined.both).all()
    assert np.array_equal(total.iou, joined.iou)


def test_all_ignored():
    counts = pixel_counts(np.zeros((3, 3), np.uint8), np.full((3, 3), IGNORED, np.uint8), 2, IGNORED)
    assert np.isnan(counts.iou).all()
    assert counts.accuracy is None


def slow_band(mask, known, width):
    """Pixels of a mask with a pixel of another class, or the end of the picture, in reach along both axes."""
    near = np.zeros_like(mask)
    height, length = mask.shape
    for y, x in np.argwhere(mask):
        for v in range(y - width, y + width + 1):
            for u in range(x - width, x + width + 1):
                outside = not (0 <= v < height and 0 <= u < length)
                if outside or (known[v, u] and not mask[v, u]):
                    near[y, x] = True
    return near


def test_boundaries_against_loops(rng):
    coarse = [rng.integers(0, 3, (8, 12)).astype(np.uint8) for _ in range(2)]
    prediction, reference = (np.kron(mask, np.ones((9, 9), np.uint8)) for mask in coarse)
    reference[:9, :18] = IGNORED
    known = reference != IGNORED
    width = round(0.02 * np.hypot(*reference.shape))
    assert width == 3
    counts = boundary_counts(prediction, reference, 3, IGNORED)
    for number in range(3):
        a = slow_band((prediction == number) & known, known, width)
        b = slow_band(reference == number, known, width)
        assert (counts.both[number], counts.predicted[number], counts.reference[number]) == (
            (a & b).sum(), a.sum(), b.sum(),
        )  # fmt: skip
