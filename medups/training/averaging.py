"""An exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average_of(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average, with ``decay``, of the weights and floating-point buffers of ``network``."""
    return AveragedModel(network, multi_avg_fn=_running_mean(decay), use_buffers=True)


def _running_mean(decay: float) -> Callable[[Any, Any, Any], None]:
    """torch's own function would also average and thus round tables of indices; they are copied instead."""
    average = get_ema_multi_avg_fn(decay)

    def update(mean: Any, current: Any, count: Any) -> None:
        if mean[0].is_floating_point():
            average(mean, current, count)
        else:
            for old, new in zip(mean, current, strict=True):
                old.copy_(new)

    return update
