"""Semantic segmentation of pictures: every pixel gets a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medups.data.labels import LabelSet
from medups.data.pictures import IGNORED
from medups.metrics.pixels import PixelCounts, pixel_counts
from medups.tasks.task import LabeledImages


@dataclass(frozen=True)
class SemanticImageTask(LabeledImages):
    """Samples are ``image`` float32 [3, H, W] and ``label``, channels int64 [1, H, W]; scores are IoU by class."""

    labels: LabelSet
    name: ClassVar[str] = "semantic_image"
    measure: ClassVar[str] = "IoU"

    def transform_input(self, arrays: tuple[NDArray[Any], ...]) -> dict[str, Tensor]:
        picture, channels = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
        return {"image": picture.movedim(-1, 0).float(), "label": channels[None]}

    def score(self, prediction: NDArray[Any], reference: NDArray[Any]) -> PixelCounts:
        return pixel_counts(prediction, reference, len(self.labels.channels), IGNORED)

    def summarize(self, scores: Sequence[PixelCounts]) -> dict[str, float]:
        """IoU of each class over all pictures together, as the literature reports it."""
        iou = reduce(add, scores).iou
        return {
            name: float(value)
            for name, value in zip(self.labels.channels.values(), iou, strict=True)
            if not np.isnan(value)
        }

    def data_format(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        channels = {str(number): name for number, name in enumerate(self.labels.channels.values())}
        common = {"spatial_shape": ["*", "*"], "dtype": "float32", "is_patch_data": False}
        colors = {"0": "red", "1": "green", "2": "blue"}
        return {
            "inputs": {
                "image": {
                    "type": "image", "format": "rgb", "num_channels": 3, "value_range": [0, 255],
                    "channel_def": colors, **common,
                }
            },
            "outputs": {
                "pred": {
                    "type": "image", "format": "segmentation", "num_channels": len(channels), "value_range": [],
                    "channel_def": channels, **common,
                }
            },
        }  # fmt: skip
