"""Findings by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medups.metrics.plausibility import Finding, UsualVolume, find_implausible

ORGANS = {1: "liver", 2: "spleen", 3: "left_kidney", 4: "right_kidney"}


@pytest.fixture
def ids():
    """Axes toward head, back and the patient's left, so the liver has the lower third index."""
    ids = np.zeros((10, 12, 20), np.uint8)
    ids[3:7, 2:6, 2:8] = 1
    ids[3:7, 2:6, 12:16] = 2
    ids[2:5, 7:10, 12:15] = 3
    ids[2:5, 7:10, 4:7] = 4
    return ids


def kinds(ids, **options):
    return [(found.organ, found.kind) for found in find_implausible(ids, ORGANS, 0.5, **options)]


def test_nothing(ids):
    assert kinds(ids) == []
    usual = {"liver": UsualVolume(40, 60), "spleen": UsualVolume(1, 1000)}
    assert kinds(ids, usual=usual) == []  # 96 and 64 voxels of half a milliliter


def test_missing(ids):
    ids[ids == 2] = 0
    assert find_implausible(ids, ORGANS, 1) == [Finding("spleen", "missing", "not found")]


def test_exchanged_sides(ids):
    assert kinds(ids[..., ::-1]) == [("left_kidney", "side"), ("spleen", "side")]
    swapped = ids.copy()
    swapped[ids == 3], swapped[ids == 4] = 4, 3
    assert kinds(swapped) == [("left_kidney", "side")]


def test_pieces(ids):
    ids[8, 10, 2:5] = 1  # 3 of 99 voxels
    assert find_implausible(ids, ORGANS, 1) == [Finding("liver", "pieces", "2 pieces, 3% outside the largest")]
    ids[8, 10, 3:5] = 0  # 1 of 97, below two percent
    assert kinds(ids) == []
    ids[7, 6, 8] = 1  # joined at a corner is one piece
    assert kinds(ids) == []


def test_the_edge_of_the_scan(ids):
    ids[7:10, 3, 3] = 1
    found = find_implausible(ids, ORGANS, 1)
    assert found == [Finding("liver", "edge", "touches the upper end of the scan")]


def test_unusual_volumes(ids):
    small, large = {"liver": UsualVolume(50, 90)}, {"liver": UsualVolume(10, 40)}
    assert find_implausible(ids, ORGANS, 0.5, small)[0].text == "48 mL, usual are 50 to 90"
    assert kinds(ids, usual=large) == [("liver", "volume")]
    cut = ids[3:]
    assert kinds(cut, usual=small)[0] == ("liver", "edge")  # a cut organ may be small, not large
    assert ("liver", "volume") in kinds(cut, usual=large)


def test_usual_volumes_are_robust(rng):
    """3.5 standard deviations of the logarithm on both sides, whatever a tenth of the volumes is."""
    volumes = np.exp(rng.normal(7, 0.2, 2000))
    volumes[:200] = 1
    usual = UsualVolume.of(volumes)
    assert np.log(usual.high) == pytest.approx(7 + 3.5 * 0.2, abs=0.2)
    assert np.log(usual.low) == pytest.approx(7 - 3.5 * 0.2, abs=0.2)
    same = UsualVolume.of([100.0] * 5)
    assert (same.low, same.high) == pytest.approx((100 * np.exp(-0.35), 100 * np.exp(0.35)))
