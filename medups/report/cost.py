"""The cost of a module: multiply-adds of one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import medups.ops.kernel_prediction.fused
import medups.ops.taps.operators  # noqa: F401  both register operators counted here

_Shape = Sequence[int]


def multiply_adds(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of ``module(*inputs)`` as they are executed, by torch's flop counter.

    Convolutions, matrix products, attention and sums over taps are counted; norms, activations, resizing and
    sampling are not.
    """
    with FlopCounterMode(display=False, custom_mapping=_operators()) as counter, torch.no_grad():
        module(*inputs)
    return int(counter.get_total_flops()) // 2


def _taps(source: _Shape, weights: _Shape, counts: _Shape, *_: Any, **__: Any) -> int:
    """Two operations per tap, channel and output pixel."""
    return 2 * prod(source[:3]) * prod(counts) * prod(weights[3:])


def _kernel_logits(around: _Shape, query: _Shape, *parameters: Any, **_: Any) -> int:
    batch, pixels, channels = around
    mix, taps = parameters[1], parameters[5][0]
    return 2 * batch * pixels * channels * (query[2] + mix[1] + taps)


def _gpu_reassemble(x: _Shape, weights: _Shape, *_: Any, **__: Any) -> int:
    return 2 * prod(x[:3]) * prod(weights[2:])


def _gpu_similarity(query: _Shape, key: _Shape, kernel_size: int, dilation: _Shape, **_: Any) -> int:
    return 2 * prod(query) * kernel_size ** len(dilation)


def _operators() -> dict[Any, Callable[..., int]]:
    counted: dict[Any, Callable[..., int]] = {
        torch.ops.medups.weighted_sum: _taps,
        torch.ops.medups.dot_products: _taps,
        torch.ops.medups.kernel_logits: _kernel_logits,
        torch.ops.medups.kernel_logits_in_place: _kernel_logits,
    }
    if find_spec("triton") is not None:
        import medups.ops.reassembly.triton
        import medups.ops.similarity.triton  # noqa: F401  both register operators counted here

        counted[torch.ops.medups.gpu_reassemble] = _gpu_reassemble
        counted[torch.ops.medups.gpu_similarity] = _gpu_similarity
    return counted
