"""The training objective: the loss of the full batch at every level that a network returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.losses import DeepSupervisionLoss
from torch import Tensor, nn

from medups.errors import InputError
from medups.training.distributed import gathered_batch

Logits = Tensor | Sequence[Tensor]
Objective = Callable[[Any, Any], Tensor]


def objective(loss: nn.Module) -> Objective:
    """A function of a network's output in training mode, and of its target.

    Args:
        loss: of logits [B, K, *size] and ids [B, 1, *size]. In deep supervision, the coarser logits have weights 1/2,
            1/4 and so on, and are compared with the ids of the nearest pixels. Or of values by name that
            the network returns, and its target; each process with its own samples.
    """
    supervised = DeepSupervisionLoss(loss, weight_mode="exp")

    def value(output: Logits | Mapping[str, Tensor], label: Any) -> Tensor:
        if isinstance(output, Mapping):
            if not getattr(loss, "reads_outputs", False):
                raise InputError(
                    f"training.loss: {type(loss).__name__} reads logits, but this network has its own losses; choose "
                    "its recipe, such as training=detection or training=pictures_queries"
                )
            total: Tensor = loss(output, label)
            return total
        logits = output
        if isinstance(logits, Tensor) and logits.ndim == label.ndim + 1:
            logits = logits.unbind(1)  # DynUNet stacks its levels
        label = gathered_batch(label)
        if isinstance(logits, Tensor):
            result: Tensor = loss(gathered_batch(logits).float(), label)
        else:
            result = supervised([gathered_batch(level).float() for level in logits], label.float())
        return result

    return value
