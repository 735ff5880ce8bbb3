"""The interface of a kind of task; everything else is shared between tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

Batch = Mapping[str, Any]


class LabeledImages:
    """Samples of an ``image`` float32 and a ``label`` int64, each with a channel axis."""

    def training_input(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        return {
            "image": torch.as_tensor(sample["image"]).to(torch.float32).contiguous(),
            "label": torch.as_tensor(sample["label"]).to(torch.int64).contiguous(),
        }

    def collate(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        batch: dict[str, Tensor] = default_collate(samples)
        return batch

    def network_input(self, batch: Batch) -> Tensor:
        image: Tensor = batch["image"]
        return image

    def target(self, batch: Batch) -> Tensor:
        label: Tensor = batch["label"]
        return label


class Task(Protocol):
    """The task-specific operations that the trainer, samplers, inferers and bundles need."""

    @property
    def name(self) -> str:
        """The name that a bundle's definition stores."""

    @property
    def measure(self) -> str:
        """What the validation scores are, such as Dice."""

    def transform_input(self, arrays: tuple[NDArray[Any], ...]) -> dict[str, Tensor]:
        """Convert the arrays of a sample to the dict that transforms take."""

    def training_input(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Convert a transformed sample to tensors."""

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        """Join samples to a batch."""

    def network_input(self, batch: Batch) -> Any:
        """The input of the network."""

    def target(self, batch: Batch) -> Any:
        """What the loss compares with the network's output."""

    def score(self, prediction: Any, reference: Any) -> Any:
        """What :meth:`summarize` needs to know of one case; small, because processes exchange it."""

    def summarize(self, scores: Sequence[Any]) -> dict[str, float]:
        """Validation scores over all cases by class, higher is better; classes without a score are left out."""

    def data_format(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """MONAI's ``network_data_format`` for the bundle's metadata."""
