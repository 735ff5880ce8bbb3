"""The training objective: the loss of the full batch at every level that a network returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai.losses import DeepSupervisionLoss
from torch import Tensor, nn

from medups.training.distributed import gathered_batch

Logits = Tensor | Sequence[Tensor]
Objective = Callable[[Logits, Tensor], Tensor]


def objective(loss: nn.Module) -> Objective:
    """A function of a network's output in training mode and of ids [B, 1, *size].

    Args:
        loss: of logits [B, K, *size] and ids. In deep supervision, the coarser logits have weights 1/2, 1/4 and so on,
            and are compared with the ids of the nearest pixels.
    """
    supervised = DeepSupervisionLoss(loss, weight_mode="exp")

    def value(logits: Logits, label: Tensor) -> Tensor:
        if isinstance(logits, Tensor) and logits.ndim == label.ndim + 1:
            logits = logits.unbind(1)  # DynUNet stacks its levels
        label = gathered_batch(label)
        if isinstance(logits, Tensor):
            result: Tensor = loss(gathered_batch(logits).float(), label)
        else:
            result = supervised([gathered_batch(level).float() for level in logits], label.float())
        return result

    return value
