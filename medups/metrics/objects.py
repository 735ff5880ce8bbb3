"""Scores of detected objects: average precision by faster-coco-eval, and matches at one threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.errors import InputError

Entry = Mapping[str, Any]
KINDS = {"box": "bbox", "mask": "segm", "boundary": "boundary"}
"""What an average precision is computed from, and faster-coco-eval's name for it."""
_OVERALL = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar": 8}
_NONE = -1.0


@dataclass(frozen=True)
class ImageObjects:
    """Annotations and predictions of one picture, as COCO's entries."""

    height: int
    width: int
    reference: Sequence[Entry]
    predicted: Sequence[Entry]


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision at IoU 0.5 to 0.95, and its parts; None without a reference object.

    Args:
        overall: ``ap``, ``ap50``, ``ap75``, ``ap_small``, ``ap_medium``, ``ap_large``, ``ar`` (recall of 100).
        classes: ``ap`` by class id.
    """

    overall: Mapping[str, float | None]
    classes: Mapping[int, float | None]


def kinds_of(images: Sequence[ImageObjects]) -> list[str]:
    """The kinds of average precision that these predictions allow: masks need masks."""
    masks = all("segmentation" in entry for image in images for entry in image.predicted)
    return list(KINDS) if masks and any(image.predicted for image in images) else ["box"]


def average_precision(images: Sequence[ImageObjects], classes: Sequence[int], kind: str) -> AveragePrecision:
    """COCO's average precision over a set of pictures."""
    if not any(image.predicted for image in images):
        known = {int(entry["category_id"]) for image in images for entry in image.reference if not entry["iscrowd"]}
        value = 0.0 if known else None
        return AveragePrecision(
            dict.fromkeys(_OVERALL, value), {number: 0.0 if number in known else None for number in classes}
        )
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise InputError("average precision needs faster-coco-eval: pip install 'medups[natural]'") from error
    reference = COCO(_content(images, classes, False))
    predicted = COCO(_content(images, classes, True))
    run = COCOeval_faster(reference, predicted, KINDS[kind], print_function=_silent)
    run.evaluate()
    run.accumulate()
    run.summarize()
    precision = np.asarray(run.eval["precision"])[:, :, :, 0, -1]  # thresholds, recalls, classes, all areas, 100
    by_class = {number: _mean(precision[:, :, place]) for place, number in enumerate(run.params.catIds)}
    overall = {name: None if run.stats[place] == _NONE else float(run.stats[place]) for name, place in _OVERALL.items()}
    return AveragePrecision(overall, by_class)


def _content(images: Sequence[ImageObjects], classes: Sequence[int], predicted: bool) -> dict[str, Any]:
    entries = [
        {**entry, "image_id": number}
        for number, image in enumerate(images, start=1)
        for entry in (image.predicted if predicted else image.reference)
    ]
    return {
        "images": [{"id": n, "height": image.height, "width": image.width} for n, image in enumerate(images, start=1)],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
        "categories": [{"id": number, "name": str(number)} for number in classes],
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[values > _NONE]
    return float(known.mean()) if known.size else None


def _silent(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Matches:
    """Objects of one class: found, predicted and annotated."""

    both: int
    predicted: int
    reference: int

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.both + other.both, self.predicted + other.predicted, self.reference + other.reference)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without any object."""
        total = self.predicted + self.reference
        return 2 * self.both / total if total else None


def matches(
    overlaps: NDArray[np.float64], scores: NDArray[np.float64], crowd: NDArray[np.bool_], least_overlap: float = 0.5
) -> Matches:
    """Match predictions [P] to annotations [R], the best score first, each at most once.

    Args:
        overlaps: IoU of each prediction with each annotation [P, R]; with a crowd, the share of the prediction inside.
    """
    free = ~crowd
    both = ignored = 0
    for row in overlaps[np.argsort(-scores, kind="stable")]:
        best = int(np.argmax(np.where(free, row, -1))) if free.any() else -1
        if best >= 0 and row[best] >= least_overlap:
            free[best] = False
            both += 1
        elif (row[crowd] >= least_overlap).any():
            ignored += 1
    return Matches(both, len(scores) - ignored, int((~crowd).sum()))
