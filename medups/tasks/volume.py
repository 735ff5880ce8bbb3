"""Segmentation of volumes: every voxel gets the id of an organ or of the background."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medups.data.cache.cases import as_sample
from medups.data.labels import LabelSet
from medups.metrics import dice
from medups.tasks.task import LabeledImages


def decode_ids(logits: Tensor, dim: int = 1) -> Tensor:
    """The id of the class with the largest logit along ``dim``, uint8."""
    return logits.argmax(dim).to(torch.uint8)


def uncertainty_percent(logits: Tensor, dim: int = 1) -> Tensor:
    """The entropy of the class probabilities along ``dim`` in percent of the largest possible one, uint8.

    0: one class has all the probability; 100: all classes are equally probable.
    """
    log_probabilities = logits.float().log_softmax(dim)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim)
    return (100 / math.log(logits.shape[dim]) * entropy).round().clamp(0, 100).to(torch.uint8)


@dataclass(frozen=True)
class VolumeTask(LabeledImages):
    """Samples are ``image`` float32 and ``label`` int64 [1, *size]; scores are Dice by organ."""

    labels: LabelSet
    name: ClassVar[str] = "volume"
    measure: ClassVar[str] = "Dice"

    def transform_input(self, arrays: tuple[NDArray[Any], ...]) -> dict[str, Tensor]:
        image, label = arrays
        return as_sample(image, label)

    def score(self, prediction: NDArray[Any], reference: NDArray[Any]) -> dict[str, float]:
        scores = {
            organ: dice(prediction == number, reference == number) for number, organ in self.labels.organs.items()
        }
        return {organ: score for organ, score in scores.items() if score is not None}

    def summarize(self, scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Mean over the cases by organ."""
        values: dict[str, list[float]] = {}
        for case in scores:
            for organ, score in case.items():
                values.setdefault(organ, []).append(score)
        return {organ: float(np.mean(known)) for organ, known in values.items()}

    def data_format(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        channels = {"0": "background", **{str(number): organ for number, organ in self.labels.organs.items()}}
        size = definition["network_def"].get("img_size") or definition["inferer"].get("roi_size")
        shape = [size, size] if isinstance(size, int) else list(size or [])
        common = {"spatial_shape": shape, "dtype": "float32", "is_patch_data": len(shape) == 3}
        modality = definition["medups"].get("modality", "CT")
        return {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield" if modality == "CT" else "magnitude",
                    "modality": modality,
                    "num_channels": 1,
                    "value_range": [0, 1],
                    "channel_def": {"0": "image"},
                    **common,
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(channels),
                    "value_range": [],
                    "channel_def": channels,
                    **common,
                }
            },
        }
