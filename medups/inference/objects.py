"""Objects and segments of a picture, from the predictions of a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medups.data.labels import LabelSet
from medups.data.pictures.objects import Objects, Segments

_INSIDE = 0.5  # probability from which a pixel belongs to an object
Network = Callable[[dict[str, Any]], list[dict[str, Tensor]]]


class ObjectInferer:
    """The objects of a picture of any size.

    Args:
        least_score: of the objects that are kept.
    """

    def __init__(self, least_score: float = 0.05) -> None:
        if not 0 <= least_score <= 1:
            raise ValueError(f"ObjectInferer: least_score must be 0 to 1, got {least_score}")
        self.least_score = least_score

    def __call__(
        self, image: Tensor, network: Network, labels: LabelSet, device: torch.device | str = "cpu"
    ) -> Objects:
        """``image`` [3, H, W], preprocessed."""
        return found_objects(predicted(image, network, device), labels, self.least_score)


class SegmentInferer:
    """Panoptic segments of a picture of any size, combined as in the panoptic FPN's paper (arXiv 1901.02446).

    Objects are drawn with the best score first; the rest of the picture gets the best class of the background.

    Args:
        least_score: of the objects that are drawn.
        most_covered: objects of which earlier ones cover more than this share are left out.
        least_stuff: classes of the background with fewer pixels are left out.
    """

    def __init__(self, least_score: float = 0.6, most_covered: float = 0.5, least_stuff: int = 4096) -> None:
        if not 0 <= least_score <= 1 or not 0 <= most_covered <= 1:
            raise ValueError(
                f"SegmentInferer: least_score and most_covered must be 0 to 1, got {least_score}, {most_covered}"
            )
        self.least_score, self.most_covered, self.least_stuff = least_score, most_covered, least_stuff

    def __call__(
        self, image: Tensor, network: Network, labels: LabelSet, device: torch.device | str = "cpu"
    ) -> Segments:
        """``image`` [3, H, W], preprocessed."""
        prediction = predicted(image, network, device)
        if "semantic" not in prediction:
            raise ValueError("SegmentInferer: the network predicts no background; it needs stuff classes")
        objects = found_objects(prediction, labels, self.least_score)
        background = prediction["semantic"].argmax(0).cpu().numpy()
        return self.combined(objects, background, labels)

    def combined(self, objects: Objects, background: NDArray[np.int64], labels: LabelSet) -> Segments:
        """Objects with masks, the best score first, before the place of each pixel's class among the stuff [H, W]."""
        assert objects.masks is not None  # predicted by a network with masks
        assert objects.scores is not None
        numbers = np.zeros(background.shape, dtype=np.int32)
        ids: dict[int, int] = {}
        scores: dict[int, float] = {}
        for category, mask, score in zip(objects.ids.tolist(), objects.masks, objects.scores.tolist(), strict=True):
            area, free = int(mask.sum()), mask & (numbers == 0)
            if not free.any() or area - int(free.sum()) > self.most_covered * area:
                continue
            number = len(ids) + 1
            numbers[free], ids[number], scores[number] = number, category, score
        for place, category in enumerate(labels.stuff_ids):
            free = (background == place) & (numbers == 0)
            if int(free.sum()) >= max(1, self.least_stuff):
                number = len(ids) + 1
                numbers[free], ids[number] = number, category
        return Segments(numbers, ids, scores=scores)


def predicted(image: Tensor, network: Network, device: torch.device | str) -> dict[str, Tensor]:
    """What a detector in evaluation mode returns for one picture."""
    with torch.inference_mode():
        return network({"images": [image.to(device)]})[0]


def found_objects(prediction: dict[str, Tensor], labels: LabelSet, least_score: float) -> Objects:
    """The objects of a prediction, the best score first."""
    kept = prediction["scores"] >= least_score
    arrays = {name: prediction[name][kept].float().cpu().numpy() for name in ("boxes", "labels", "scores")}
    masks = None
    if "masks" in prediction:
        masks = (prediction["masks"][kept][:, 0] >= _INSIDE).cpu().numpy()
    things = np.array(labels.things, dtype=np.int64)
    ids = things[arrays["labels"].astype(np.int64) - 1]
    boxes, scores = arrays["boxes"].astype(np.float64), arrays["scores"].astype(np.float64)
    return Objects(ids, boxes, masks, np.zeros(len(ids), dtype=bool), scores)
