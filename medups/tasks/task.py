"""The interface of a kind of task; everything else is shared between tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

Batch = Mapping[str, Tensor]


class Task(Protocol):
    """What trainer, samplers, inferers and bundles need to know about a task, and no more."""

    @property
    def name(self) -> str:
        """The name that a bundle's definition stores."""

    def transform_input(self, arrays: tuple[NDArray[Any], ...]) -> dict[str, Tensor]:
        """The arrays of a sample as the dict that transforms are called with."""

    def training_input(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """The transformed sample as the tensors of a batch."""

    def network_input(self, batch: Batch) -> Tensor:
        """What the network is called with."""

    def target(self, batch: Batch) -> Tensor:
        """What the loss compares the network's output with."""

    def score(self, prediction: NDArray[Any], reference: NDArray[Any]) -> dict[str, float]:
        """Validation scores of one case by class, higher is better; classes without a score are left out."""

    def data_format(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """MONAI's ``network_data_format`` for the bundle's metadata."""
