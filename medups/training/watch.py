"""Measures of a network's upsamplers while it trains: what their kernels and offsets do, and how fast they change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medups.ops.grid import linear_position, taps_inside
from medups.training.param_groups import upsampler_parts
from medups.upsamplers.base import Kernels, Upsampler

_MOST_VALUES = 2**20  # that a quantile is computed from

Measures = Mapping[str, Mapping[str, float]]
"""By path of the upsampler, then by name."""


@dataclass(frozen=True)
class Watch:
    """Reports measures of every upsampler after every ``every``-th optimizer step.

    The upsamplers' kernels and offsets are computed once more, from the step's last inputs and the new weights.

    Args:
        report: called with the measures, and with the number of steps done.
    """

    every: int
    report: Callable[[Measures, int], None]

    @contextmanager
    def step(self, network: nn.Module, number: int) -> Iterator[None]:
        """Watch an optimizer step, from its first forward pass to its update; ``number`` counts from 1."""
        if number % self.every:
            yield
            return
        inputs: dict[str, tuple[Tensor, Tensor | None]] = {}
        upsamplers = {path: module for path, module in network.named_modules() if isinstance(module, Upsampler)}
        hooks = [
            module.register_forward_pre_hook(_recorder(inputs, path), with_kwargs=True)
            for path, module in upsamplers.items()
        ]
        parts = list(upsampler_parts(network))
        before = [[p.detach().clone() for p in members.values()] for _, _, members in parts]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        measures: dict[str, dict[str, float]] = {}
        with torch.no_grad():
            for path, (x, guide) in inputs.items():
                measures[path] = upsampler_measures(upsamplers[path], x, guide)
            for (path, part, members), old in zip(parts, before, strict=True):
                values = measures.setdefault(path, {})
                gradients = [p.grad for p in members.values() if p.grad is not None]
                values[f"{part.name}_gradient_norm"] = _norm(gradients)
                updates = [p - earlier for p, earlier in zip(members.values(), old, strict=True)]
                values[f"{part.name}_update_norm"] = _norm(updates)
        self.report({path: values for path, values in measures.items() if values}, number)


@torch.no_grad()
def upsampler_measures(upsampler: Upsampler, x: Tensor, guide: Tensor | None) -> dict[str, float]:
    """What the upsampler's kernels and offsets do for these inputs.

    Returns:
        For each kernel, ``entropy``: of its weights, relative to uniform weights, which have 1;
        ``divergence``: Kullback-Leibler divergence from the weights of linear interpolation, 0 for interpolation;
        and ``outside``: the share of the weights outside the map. For offsets, ``mean`` and ``p99`` of their length in
        pixels of ``x``, and ``outside``, the share of positions outside the map.
    """
    wide = next((p.dtype for p in upsampler.parameters()), x.dtype)
    x, guide = x.to(wide), None if guide is None else guide.to(wide)
    values: dict[str, float] = {}
    for name, kernels in upsampler.kernels(x, guide).items():
        values.update({f"{name}_{key}": value for key, value in _kernel_measures(kernels).items()})
    offsets = upsampler.offset_field(x, guide)
    if offsets is not None:
        values.update({f"offsets_{key}": value for key, value in _offset_measures(offsets, x.shape[2:]).items()})
    return values


def _kernel_measures(kernels: Kernels) -> dict[str, float]:
    logs = kernels.logits.float().log_softmax(2)
    weights = logs.exp()
    wanted = _interpolation(kernels, logs.device)
    size = kernels.logits.shape[3:]
    inside = taps_inside(kernels.size, size, kernels.kernel_size, kernels.taps == "linear", logs.device)
    excess = torch.where(wanted > 0, wanted * (wanted.clamp_min(1e-30).log() - logs), 0.0)
    return {
        "entropy": float(torch.special.entr(weights).sum(2).mean()) / math.log(max(2, logs.shape[2])),
        "divergence": float(excess.sum(2).mean()),
        "outside": float(((~inside) * weights).sum(2).mean()),
    }


def _interpolation(kernels: Kernels, device: torch.device) -> Tensor:
    """[K**d, *out]: the weights of linear interpolation on the kernel's taps."""
    size = kernels.logits.shape[3:]
    reach = kernels.kernel_size // 2
    steps = torch.arange(-reach, reach + 1, device=device)[:, None]
    weights = torch.ones((), device=device)
    for axis, (n_in, n_out) in enumerate(zip(kernels.size, size, strict=True)):
        if kernels.taps == "linear":
            line = (steps == 0).float().expand(-1, n_out)
        else:
            floor, fraction = linear_position(n_in, n_out, device, torch.float32)
            position = (torch.arange(n_out, device=device) * n_in // n_out + steps).float()
            below, above = floor.clamp(0, n_in - 1), (floor + 1).clamp(0, n_in - 1)
            line = (position == below) * (1 - fraction) + (position == above) * fraction
        shape = [1] * (2 * len(size))
        shape[axis], shape[len(size) + axis] = line.shape
        weights = weights * line.reshape(shape)
    return weights.reshape(-1, *size)


def _offset_measures(offsets: Tensor, n_in: torch.Size) -> dict[str, float]:
    """``offsets`` [B, d, G, *out], the last axis first."""
    offsets = offsets.float()
    length = offsets.square().sum(1).sqrt().flatten()
    outside = torch.zeros((), dtype=torch.bool, device=offsets.device)
    for axis, n in enumerate(n_in):
        floor, fraction = linear_position(n, offsets.shape[3 + axis], offsets.device, torch.float32)
        shape = [-1 if a == axis else 1 for a in range(len(n_in))]
        position = offsets[:, len(n_in) - 1 - axis] + (floor + fraction).reshape(shape)
        outside = outside | (position < -0.5) | (position > n - 0.5)
    sample = length[:: -(-length.numel() // _MOST_VALUES)]
    return {
        "mean": float(length.mean()),
        "p99": float(sample.quantile(0.99)),
        "outside": float(outside.float().mean()),
    }


def _recorder(inputs: dict[str, tuple[Tensor, Tensor | None]], path: str) -> Callable[..., None]:
    def record(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        x, guide = (*positional, *named.values(), None)[:2]
        inputs[path] = x.detach(), None if guide is None else guide.detach()

    return record


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([tensor.float().norm() for tensor in tensors]).norm()) if tensors else 0.0
