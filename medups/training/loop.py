"""The training loop: samples in, weights out; validates, checkpoints and resumes on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Subset

from medups.training.checkpoint import load_checkpoint, save_checkpoint

_SAVE_SECONDS = 120  # no more than this much work is ever lost

Log = Callable[[str], None]
Schedule = Literal["poly", "cosine"]
Scalars = Callable[[Mapping[str, float], int], None]


@dataclass(frozen=True)
class Plan:
    """How long and how often: all counted in optimiser steps.

    schedule: of the learning rate after its warm-up, ``poly`` with ``poly_power`` or ``cosine``.
    accumulate: parts that a batch is taken in, one after another, where it does not fit into memory at once; the
    samples stay the same.
    ema_decay: a running mean of the weights, of which each step keeps this share, is what is validated and kept;
    None validates and keeps the weights themselves.
    """

    steps: int
    batch_size: int
    validate_every: int
    poly_power: float
    schedule: Schedule = "poly"
    warmup_steps: int = 0
    accumulate: int = 1
    workers: int = 0
    clip_norm: float | None = None
    ema_decay: float | None = None


@dataclass
class Hooks:
    """What the loop calls: none of it changes the weights.

    validate: scores the network in eval mode after ``step`` steps; returns the score to be maximised, or None
    where there is nothing to validate on. progress: called after every step with the loss.
    """

    validate: Callable[[nn.Module, int], float | None]
    scalars: Scalars
    progress: Callable[[int, float], None]
    log: Log


class NonFiniteLossError(RuntimeError):
    """The loss is not a number; the last checkpoint is kept."""


def rate_at(step: int, plan: Plan) -> float:
    """Share of the base learning rate at ``step``: linear warm-up, then the schedule down to 0 over what is left."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    progress = min(1.0, (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps))
    if plan.schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return (1 - progress) ** plan.poly_power


def train(
    fabric: Fabric,
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    stream: Dataset[dict[str, Tensor]],
    plan: Plan,
    hooks: Hooks,
    folder: Path,
    identity: Mapping[str, Any],
    seed: int,
) -> Path:
    """Train for ``plan.steps`` steps, going on from ``folder/last.pt`` where there is one.

    Args:
        loss: of logits [B, K, *size] and ids [B, 1, *size].
        stream: sample n of the run is ``stream[n]``; step s takes samples s * batch_size and on.
        folder: gets ``last.pt`` and ``best.pt``.
        identity: plain values stored with the checkpoint; the caller checks them before it resumes.
        seed: randomness of step s inside the network depends on (seed, s).

    Returns:
        The checkpoint with the best validation score, or the last one where nothing was validated. Its
        ``weights`` are those that were validated.

    Raises:
        NonFiniteLossError: the loss of a step is not finite.
    """
    last, best = folder / "last.pt", folder / "best.pt"
    rates = [group["lr"] for group in optimizer.param_groups]
    average = None
    if plan.ema_decay is not None:
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(plan.ema_decay), use_buffers=True)
    start, best_score = 0, -math.inf
    if last.is_file():
        state = load_checkpoint(last)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        start, best_score = int(state["step"]), float(state["best_score"])
        if average is not None:
            average.module.load_state_dict(state["weights"])
            average.n_averaged.fill_(start)
        if start < plan.steps:
            hooks.log(f"resuming after step {start} of {plan.steps}")
    network, optimizer = fabric.setup(network, optimizer)
    validated = _plain(network) if average is None else average.module.to(fabric.device)

    def save(path: Path, step: int) -> None:
        state = {
            "network": _plain(network).state_dict(),
            "weights": validated.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "best_score": best_score,
            "identity": dict(identity),
        }
        if fabric.is_global_zero:
            save_checkpoint(path, state)

    remaining = Subset(stream, range(start * plan.batch_size, plan.steps * plan.batch_size))
    loader = DataLoader(
        remaining,
        batch_size=plan.batch_size // plan.accumulate,
        num_workers=plan.workers,
        persistent_workers=plan.workers > 0,
    )
    batches: Iterator[Any] = iter(fabric.setup_dataloaders(loader))
    began = saved = time.perf_counter()
    waited = 0.0
    for step in range(start, plan.steps):
        network.train()
        rate = rate_at(step, plan)
        for group, base in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = base * rate
        optimizer.zero_grad(set_to_none=True)
        current = 0.0
        for part in range(plan.accumulate):
            asked = time.perf_counter()
            batch: dict[str, Tensor] = next(batches)
            waited += time.perf_counter() - asked
            if part == 0:  # after the loader, whose start draws numbers, too
                torch.manual_seed(hash((seed, step)) % 2**63)
            with fabric.no_backward_sync(cast(Any, network), enabled=part + 1 < plan.accumulate):
                value = loss(network(batch["image"]), batch["label"]) / plan.accumulate
                current += float(value.detach())
                if not math.isfinite(current):
                    raise NonFiniteLossError(
                        f"the loss of step {step + 1} is {current} (samples {step * plan.batch_size} to "
                        f"{(step + 1) * plan.batch_size - 1}); the last checkpoint is kept, lower the learning rate"
                    )
                fabric.backward(value)
        norm = _clipped_norm(fabric, network, optimizer, plan.clip_norm)
        optimizer.step()
        if average is not None:
            average.update_parameters(_plain(network))
        hooks.progress(step + 1, current)
        passed = time.perf_counter() - began
        scalars = {
            "loss": current,
            "learning_rate": rates[0] * rate,
            "gradient_norm": norm,
            "samples_per_second": (step + 1 - start) * plan.batch_size / passed,
            "waiting_for_data": waited / passed,
        }
        if fabric.device.type == "cuda":
            scalars["gpu_memory_gib"] = torch.cuda.max_memory_allocated(fabric.device) / 2**30
        hooks.scalars(scalars, step + 1)
        validating = (step + 1) % plan.validate_every == 0 or step + 1 == plan.steps
        if validating:
            score = hooks.validate(validated.eval(), step + 1)
            if score is not None and score > best_score:
                best_score = score
                save(best, step + 1)
        if validating or time.perf_counter() - saved > _SAVE_SECONDS:
            save(last, step + 1)
            saved = time.perf_counter()
    return best if best.is_file() else last


def _clipped_norm(fabric: Fabric, network: nn.Module, optimizer: Any, most: float | None) -> float:
    """The gradient's norm, before it is clipped to ``most``."""
    limit = math.inf if most is None else most
    norm = fabric.clip_gradients(network, optimizer, max_norm=limit, error_if_nonfinite=most is not None)
    assert norm is not None  # what Fabric returns for a norm
    return float(norm)


def _plain(network: nn.Module) -> nn.Module:
    """The network without Fabric's wrapper."""
    inner = getattr(network, "module", network)
    assert isinstance(inner, nn.Module)
    return inner
