"""Parameters in groups with their own learning rates and weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from medups.upsamplers.base import Upsampler


def parameter_groups(
    network: nn.Module, rate: float, weight_decay: float, *, decay_all: bool = True, upsampler_rate: float = 1
) -> list[dict[str, Any]]:
    """Groups for an optimizer; each parameter is in exactly one, and empty groups are omitted.

    Args:
        rate, weight_decay: of most parameters.
        decay_all: if False, vectors (biases and the parameters of norms) are not decayed.
        upsampler_rate: factor on the learning rate of upsamplers; their weight decay is divided by it, so that the
            product, by which weights shrink in a step, stays the same. ReSFU's published code multiplies the gradients
            of its paired differences by 500, which is equivalent to this factor under SGD.
    """
    in_upsamplers = {
        id(p) for module in network.modules() if isinstance(module, Upsampler) for p in module.parameters()
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        factor = upsampler_rate if id(parameter) in in_upsamplers else 1.0
        decay = weight_decay / factor if factor and (decay_all or parameter.ndim > 1) else 0.0
        groups.setdefault((rate * factor, decay), []).append(parameter)
    return [{"params": members, "lr": lr, "weight_decay": decay} for (lr, decay), members in groups.items()]
