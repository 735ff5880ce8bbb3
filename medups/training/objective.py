"""What is minimised: a loss of logits, of the whole batch, at every level that a network returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai.losses import DeepSupervisionLoss
from torch import Tensor, nn

from medups.training.ranks import whole_batch

Logits = Tensor | Sequence[Tensor]
Objective = Callable[[Logits, Tensor], Tensor]


def objective(loss: nn.Module) -> Objective:
    """A function of what a network returns while it trains and of ids [B, 1, *size].

    Args:
        loss: of logits [B, K, *size] and ids. Deep supervision's coarser logits count a half, a quarter and so on of
            the first, against ids picked from the nearest pixel.
    """
    supervised = DeepSupervisionLoss(loss, weight_mode="exp")

    def value(logits: Logits, label: Tensor) -> Tensor:
        if isinstance(logits, Tensor) and logits.ndim == label.ndim + 1:
            logits = logits.unbind(1)  # DynUNet stacks its levels
        label = whole_batch(label)
        if isinstance(logits, Tensor):
            result: Tensor = loss(whole_batch(logits).float(), label)
        else:
            result = supervised([whole_batch(one).float() for one in logits], label.float())
        return result

    return value
