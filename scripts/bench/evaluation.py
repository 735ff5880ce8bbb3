"""Time all measures of a case, and medpy's Dice and HD95 of the same masks where medpy is installed.

    python scripts/bench/evaluation.py

The masks are eight ellipsoids of the sizes of abdominal organs in 150 x 512 x 512 voxels of 3 x 0.75 x 0.75 mm; the
prediction has each of them shifted and scaled.
"""  # fmt: skip

from __future__ import annotations

import time
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np
from machine import Machine
from numpy.typing import NDArray

from medups.metrics import evaluate_case

_SHAPE, _SPACING, _ROUNDS = (150, 512, 512), (3.0, 0.75, 0.75), 5
_ORGANS = {  # center in voxels, radii in mm
    "aorta": ((75, 256, 260), (210, 14, 14)), "gallbladder": ((30, 400, 260), (30, 25, 20)),
    "left_kidney": ((50, 330, 340), (60, 28, 26)), "right_kidney": ((50, 330, 170), (60, 28, 26)),
    "liver": ((70, 230, 160), (95, 110, 90)), "pancreas": ((65, 250, 260), (25, 15, 60)),
    "spleen": ((80, 310, 370), (60, 45, 40)), "stomach": ((75, 200, 320), (70, 60, 55)),
}  # fmt: skip


def masks() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Prediction and label."""
    rng = np.random.default_rng(0)
    pred, label = np.zeros((2, *_SHAPE), np.uint8)
    for number, (center, radii) in enumerate(_ORGANS.values(), start=1):
        for ids, error in ((label, 0), (pred, 1)):
            middle = np.add(center, error * rng.integers(-2, 3, 3))
            sizes = np.multiply(radii, 1 + error * rng.uniform(-0.05, 0.05, 3))
            axes = np.ogrid[tuple(slice(0, n) for n in _SHAPE)]
            parts = zip(axes, middle, _SPACING, sizes, strict=True)
            ids[sum(((at - c) * mm / size) ** 2 for at, c, mm, size in parts) <= 1] = number
    return pred, label


def medpy(pred: NDArray[np.uint8], label: NDArray[np.uint8]) -> list[tuple[float, float]]:
    """Its Dice and HD95 of every organ."""
    binary = import_module("medpy.metric.binary")
    pairs = [(pred == number, label == number) for number in range(1, len(_ORGANS) + 1)]
    return [(binary.dc(*pair), binary.hd95(*pair, _SPACING)) for pair in pairs]


def main() -> None:
    pred, label = masks()
    ids = {organ: number for number, organ in enumerate(_ORGANS, start=1)}
    taken: list[float] = []
    scores: Any = None
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        scores = evaluate_case(pred, label, ids, _SPACING)
        taken.append(time.perf_counter() - began)
    ours = median(taken)
    print(f"{Machine.measure('cpu').device}: all measures {ours:.2f} s ({min(taken):.2f} to {max(taken):.2f})")
    try:
        began = time.perf_counter()
        expected = medpy(pred, label)
    except ImportError:
        print("medpy is not installed: pip install medpy")
        return
    seconds = time.perf_counter() - began
    computed = [(score.dice, score.hd95) for score in scores.values()]
    difference = float(np.abs(np.subtract(computed, expected)).max())
    print(f"medpy, Dice and HD95: {seconds:.1f} s, {seconds / ours:.0f} times as long; difference {difference:.1e}")


if __name__ == "__main__":
    main()
