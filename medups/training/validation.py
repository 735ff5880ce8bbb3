"""Validation scores of a network, computed by all processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from medups.tasks.task import Task
from medups.training.distributed import gathered_objects

CaseType = TypeVar("CaseType")


@dataclass(frozen=True)
class Validator(Generic[CaseType]):
    """Scores a network on cases.

    Args:
        cases: divided among the processes.
        predict: returns the prediction and the reference of a case, given a network and the case.
        on_first: called with the first case, its prediction and its reference, for a picture.
    """

    task: Task
    fabric: Fabric
    cases: Sequence[CaseType]
    predict: Callable[[nn.Module, CaseType], tuple[NDArray[Any], NDArray[Any]]]
    on_first: Callable[[CaseType, NDArray[Any], NDArray[Any], int], None]

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        """The task's scores over the cases by class; classes without a score are left out."""
        local: list[Any] = []
        for number in range(self.fabric.global_rank, len(self.cases), self.fabric.world_size):
            case = self.cases[number]
            prediction, reference = self.predict(network, case)
            local.append(self.task.score(prediction, reference))
            if number == 0:
                self.on_first(case, prediction, reference, step)
        return self.task.summarize([score for scores in gathered_objects(local) for score in scores])
