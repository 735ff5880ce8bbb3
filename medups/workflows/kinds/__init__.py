"""The kinds of task: how each reads its cases, and how a network is tried on one while it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medups.data.labels import LabelSet
from medups.tasks import DetectionTask, PanopticTask, SemanticImageTask, VolumeTask
from medups.workflows.kinds import objects, semantic_image, volume
from medups.workflows.kinds.samples import Samples


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    Args:
        task: creates the task for the classes to learn.
        open: reads the cases of a dataset.
    """

    task: Callable[[LabelSet], Any]
    open: Callable[..., Samples]


KINDS: Mapping[str, Kind] = {
    VolumeTask.name: Kind(VolumeTask, volume.open_samples),
    SemanticImageTask.name: Kind(SemanticImageTask, semantic_image.open_samples),
    DetectionTask.name: Kind(DetectionTask, objects.open_samples),
    PanopticTask.name: Kind(PanopticTask, objects.open_samples),
}

__all__ = ["KINDS", "Kind", "Samples"]
