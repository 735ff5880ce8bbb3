"""A running mean of a network's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average_of(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``network`` that keeps the share ``decay`` of its weights and floating-point buffers at each update."""
    return AveragedModel(network, multi_avg_fn=_running_mean(decay), use_buffers=True)


def _running_mean(decay: float) -> Callable[[Any, Any, Any], None]:
    """torch's own average would also average, and so round, tables of indices; they are copied instead."""
    average = get_ema_multi_avg_fn(decay)

    def update(mean: Any, current: Any, count: Any) -> None:
        if mean[0].is_floating_point():
            average(mean, current, count)
        else:
            for old, new in zip(mean, current, strict=True):
                old.copy_(new)

    return update
