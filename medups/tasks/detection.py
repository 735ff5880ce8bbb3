"""Detection of objects in pictures: every object gets a box, a class, a score and, from some networks, a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medups.data.labels import LabelSet
from medups.data.pictures.coco_entries import objects_entries
from medups.data.pictures.objects import Objects, box_of
from medups.metrics.objects import ImageObjects, average_precision, kinds_of
from medups.tasks.task import Batch


class PicturesWithObjects:
    """Samples are ``image`` float32 [3, H, W], ``masks`` uint8 [N, H, W], ``boxes`` float32 [N, 4] and ``labels`` int64
    [N]; a batch is ``images`` and ``targets``, lists, because pictures differ in size and objects in number."""

    labels: LabelSet

    def transform_input(self, arrays: tuple[NDArray[Any], ...]) -> dict[str, Tensor]:
        picture, masks, classes = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
        return {"image": picture.movedim(-1, 0).float(), "label": masks, "classes": classes}

    def training_input(self, sample: dict[str, Any]) -> dict[str, Any]:
        image = torch.as_tensor(sample["image"]).to(torch.float32).contiguous()
        masks = torch.as_tensor(sample["label"]).to(torch.uint8).contiguous()
        return {"image": image, "target": self.target_of(masks, torch.as_tensor(sample["classes"]))}

    def target_of(self, masks: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """The target of a sample whose masks were transformed; objects that are no longer visible are left out."""
        visible = masks.flatten(1).bool().any(1)
        masks = masks[visible]
        boxes = [box_of(mask.numpy().astype(bool)) for mask in masks]
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": classes[visible],
            "masks": masks,
        }

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "images": [sample["image"] for sample in samples],
            "targets": [sample["target"] for sample in samples],
        }

    def network_input(self, batch: Batch) -> Any:
        return batch

    def target(self, batch: Batch) -> Any:
        """What the loss takes beside the network's losses: nothing."""
        del batch

    def data_format(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        del definition
        channels = {str(number): name for number, name in self.labels.organs.items()}
        common = {"spatial_shape": ["*", "*"], "dtype": "float32", "is_patch_data": False}
        colors = {"0": "red", "1": "green", "2": "blue"}
        picture = {"type": "image", "format": "rgb", "num_channels": 3, "value_range": [0, 255], "channel_def": colors}
        objects = {"type": "object", "format": "coco", "num_channels": len(channels), "channel_def": channels}
        return {
            "inputs": {"image": {**picture, **common}},
            "outputs": {"pred": {**objects, "value_range": [], **common}},
        }


@dataclass(frozen=True)
class DetectionTask(PicturesWithObjects):
    """Scores are the average precision by class: of masks if the network predicts them, otherwise of boxes."""

    labels: LabelSet
    name: ClassVar[str] = "detection"
    measure: ClassVar[str] = "AP"

    def score(self, prediction: Objects, reference: Objects) -> ImageObjects:
        return image_objects(prediction, reference)

    def summarize(self, scores: Sequence[ImageObjects]) -> dict[str, float]:
        kind = "mask" if "mask" in kinds_of(scores) else "box"
        classes = average_precision(scores, list(self.labels.organs), kind).classes
        return {self.labels.organs[number]: value for number, value in classes.items() if value is not None}


def image_objects(prediction: Objects, reference: Objects) -> ImageObjects:
    """The objects of one picture as COCO's entries, which are small."""
    assert reference.masks is not None  # annotations have them
    height, width = reference.masks.shape[1:]
    return ImageObjects(height, width, objects_entries(reference, 0), objects_entries(prediction, 0))
