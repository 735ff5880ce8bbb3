"""What every kind of task provides to a training run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import Compose
from numpy.typing import NDArray

from medups.bundle.model import Model
from medups.data.sampling import SampleSource


@dataclass(frozen=True)
class Samples:
    """The cases of a run.

    Args:
        source, transform: of the training samples.
        train, val: the cases.
        predict: the prediction and the reference of a validation case, as the task's ``score`` takes them.
        picture: colors [H, W, 3] of a validation case, its prediction and its reference, with a title.
    """

    source: SampleSource
    transform: Compose
    train: Sequence[Any]
    val: Sequence[Any]
    predict: Callable[[Model, Any, torch.device], tuple[Any, Any]]
    picture: Callable[[Model, Any, Any, Any, str], NDArray[Any]]
