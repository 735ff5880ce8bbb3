"""Panoptic quality against torchmetrics and by hand; average precision and matches by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medups.data.pictures.objects import Segments
from medups.metrics.objects import ImageObjects, average_precision, kinds_of, matches
from medups.metrics.panoptic import SegmentCounts, segment_counts, total_counts


def random_segments(rng, least=0):
    """Blocks of a coarse grid, so that segments overlap well."""
    numbers = np.kron(rng.integers(least, 5, (3, 4)), np.ones((4, 4), int)).astype(np.int32)
    rows = rng.integers(0, 3, 12)
    numbers[rows] = rng.integers(least, 5)
    found = set(np.unique(numbers).tolist()) - {0}
    return Segments(numbers, {n: int(rng.integers(1, 4)) for n in found})


def test_panoptic_quality_is_that_of_torchmetrics():
    """All classes are things, since torchmetrics joins the segments of stuff; no pixel is without a prediction, since
    torchmetrics leaves such pixels out and the authors' code does not."""
    detection = pytest.importorskip("torchmetrics.detection")
    rng = np.random.default_rng(0)
    metric = detection.PanopticQuality(things={1, 2, 3}, stuffs=set(), allow_unknown_preds_category=True,
                                       return_sq_and_rq=True, return_per_class=True)  # fmt: skip
    counts = []
    for _ in range(40):
        both = random_segments(rng, 1), random_segments(rng)
        pairs = []
        for one in both:
            classes = np.zeros_like(one.numbers)
            for number, category in one.ids.items():
                classes[one.numbers == number] = category
            pairs.append(torch.from_numpy(np.stack([classes, one.numbers], -1))[None])
        metric.update(*pairs)
        counts.append(segment_counts(*both))
    total = total_counts(counts)
    expected = metric.compute()
    for place, number in enumerate((1, 2, 3)):
        ours = total[number]
        torch.testing.assert_close(torch.tensor([ours.pq, ours.sq, ours.rq], dtype=expected.dtype), expected[place])


def segments(rows, ids, crowd=()):
    return Segments(np.array(rows, np.int32), ids, frozenset(crowd))


def test_void_and_crowds_by_hand():
    """Six columns of void hold prediction 2, which does not count; the crowd of class 1 takes prediction 3."""
    reference = segments([[1, 1, 1, 1, 9, 9, 0, 0]], {1: 1, 9: 1}, crowd=[9])
    predicted = segments([[1, 1, 1, 0, 3, 3, 2, 2]], {1: 1, 2: 2, 3: 1})
    assert segment_counts(predicted, reference) == {1: SegmentCounts(iou=0.75, matched=1)}
    other = segments([[1, 1, 0, 0, 3, 3, 2, 2]], {1: 1, 2: 2, 3: 2})
    assert segment_counts(other, reference) == {
        1: SegmentCounts(reference=1, predicted=1),
        2: SegmentCounts(predicted=1),
    }
    counts = total_counts([{1: SegmentCounts(0.75, 1)}, {1: SegmentCounts(predicted=1, reference=2)}])[1]
    assert (counts.sq, counts.rq, counts.pq) == pytest.approx((0.75, 1 / 2.5, 0.75 / 2.5))
    assert SegmentCounts().pq is None


def entry(box, category=1, score=None, crowd=0):
    row = {"category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd, "image_id": 0}
    return row if score is None else {**row, "score": score}


def test_average_precision_by_hand():
    """An IoU of 0.75 passes 6 of the 10 thresholds; a wrong box before it halves the precision there."""
    pytest.importorskip("faster_coco_eval")
    annotated = [entry([0, 0, 40, 40])]
    found = entry([0, 0, 30, 40], score=0.9)
    wrong = entry([60, 60, 20, 20], score=0.95)
    one = average_precision([ImageObjects(100, 100, annotated, [found])], [1, 2], "box")
    assert one.overall["ap"] == pytest.approx(0.6)
    assert one.overall["ap50"] == one.overall["ap75"] == pytest.approx(1)
    assert one.classes == {1: pytest.approx(0.6), 2: None}
    two = average_precision([ImageObjects(100, 100, annotated, [found, wrong])], [1, 2], "box")
    assert two.overall["ap"] == pytest.approx(0.3)
    none = average_precision([ImageObjects(100, 100, annotated, [])], [1, 2], "box")
    assert none.overall["ap"] == 0
    assert none.classes == {1: 0.0, 2: None}


def test_what_can_be_scored():
    assert kinds_of([ImageObjects(9, 9, [], [entry([0, 0, 1, 1], score=1)])]) == ["box"]
    masked = {**entry([0, 0, 1, 1], score=1), "segmentation": {}}
    assert kinds_of([ImageObjects(9, 9, [], [masked])]) == ["box", "mask", "boundary"]
    assert kinds_of([ImageObjects(9, 9, [], [])]) == ["box"]


def test_matches_by_hand():
    """The better score takes the object, the second one is wrong, and the third one is inside the crowd."""
    overlaps = np.array([[0.7, 0.0], [0.9, 0.1], [0.0, 0.8], [0.49, 0.49]])
    found = matches(overlaps, np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True]))
    assert (found.both, found.predicted, found.reference) == (1, 3, 1)
    assert found.f1 == 2 / 4
    assert matches(np.zeros((0, 0)), np.zeros(0), np.zeros(0, bool)).f1 is None
