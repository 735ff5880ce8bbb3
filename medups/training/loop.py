"""The training loop: samples in, weights out; validates, checkpoints and resumes on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Dataset

from medups.errors import InputError
from medups.training.batches import Batch, batches, dead_workers_told
from medups.training.checkpoint import BEST, LAST, PREVIOUS, first_good, keep_last, save_checkpoint
from medups.training.objective import Objective
from medups.training.ranks import Order, gathered_objects, share_buffers

Log = Callable[[str], None]
Schedule = Literal["poly", "cosine"]
Scalars = Callable[[Mapping[str, float], int], None]

_SKIPPED_STEPS = 50  # that a scaler may leave out one after another: it halves 65536 to nothing well before


@dataclass(frozen=True)
class Plan:
    """How long and how often: all counted in optimiser steps.

    batch_size: of all processes together.
    schedule: of the learning rate after its warm-up, ``poly`` with ``poly_power`` or ``cosine``.
    accumulate: parts that a batch is taken in, one after another, where it does not fit into memory at once; the
    samples stay the same.
    ema_decay: a running mean of the weights, of which each step keeps this share, is what is validated and kept;
    None validates and keeps the weights themselves.
    patience: stop after so many validations without a better score; None never does.
    save_seconds: no more than this much work is ever lost.
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
    patience: int | None = None
    save_seconds: float = 120


@dataclass
class Hooks:
    """What the loop calls: none of it changes the weights.

    validate: scores the network in eval mode after ``step`` steps; returns the score to be maximised, the same in
    every process, or None where there is nothing to validate on. progress: called after every step with the loss.
    describe: a sample's number in words.
    """

    validate: Callable[[nn.Module, int], float | None]
    scalars: Scalars
    progress: Callable[[int, float], None]
    log: Log
    describe: Callable[[int], str] = str


class NonFiniteLossError(RuntimeError):
    """Loss or gradient is not a number; the last checkpoint is kept."""


def rate_at(step: int, plan: Plan) -> float:
    """Share of the base learning rate at ``step``: linear warm-up, then the schedule down to 0 over what is left."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    progress = min(1.0, (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps))
    if plan.schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return (1 - progress) ** plan.poly_power


@dead_workers_told()
def train(
    fabric: Fabric,
    network: nn.Module,
    loss: Objective,
    optimizer: torch.optim.Optimizer,
    stream: Dataset[Batch],
    plan: Plan,
    hooks: Hooks,
    folder: Path,
    identity: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Train for ``plan.steps`` steps, going on from the last good checkpoint in ``folder`` where there is one.

    Args:
        fabric: launched; each of its processes takes its share of every batch.
        loss: of what the network returns and ids [B, 1, *size].
        stream: sample n of the run is ``stream[n]``; step s takes samples s * batch_size and on.
        folder: gets ``last.pt``, ``previous.pt`` and ``best.pt``.
        identity: plain values stored with the checkpoint; the caller checks them before it resumes.
        seed: randomness of step s inside the network depends on (seed, s), and on the process after the first.

    Returns:
        The checkpoint with the best validation score, or the last one where nothing was validated. Its
        ``weights`` are those that were validated. Empty in processes after the first.

    Raises:
        InputError: a batch that the processes cannot share, no checkpoint that is whole, or processes that find
            different ones.
        NonFiniteLossError: the loss of a step is not finite, or its gradient, with a scaler in 50 steps on end.
        CheckpointError: a full disk.
        DataWorkerError: a sample could not be made.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    precision: Any = fabric.strategy.precision
    average = None
    if plan.ema_decay is not None:
        average = AveragedModel(network, multi_avg_fn=_running_mean(plan.ema_decay), use_buffers=True)
    start, best_score, stale, finished = 0, -math.inf, 0, False
    state, complaints = first_good(folder, LAST, PREVIOUS)
    for complaint in complaints:
        hooks.log(complaint)
    if state is not None:
        network.load_state_dict(state["network"])
        precision.load_state_dict(state["precision"])
        start, best_score, stale, finished = (state[key] for key in ("step", "best_score", "stale", "finished"))
        if average is not None:
            average.module.load_state_dict(state["weights"])
            average.n_averaged.fill_(start)
        if not finished:
            hooks.log(f"resuming after step {start} of {plan.steps}")
    if len(found := {*gathered_objects(start)}) > 1:
        raise InputError(f"{folder}: processes find checkpoints of steps {found}; give a folder that all nodes share")
    network, optimizer = fabric.setup(network, optimizer)
    if state is not None:  # not before the weights are on their device: their moments go where they are
        optimizer.load_state_dict(state["optimizer"])
    validated = _plain(network) if average is None else average.module.to(fabric.device)

    def content(step: int) -> dict[str, Any]:
        return {
            "network": _plain(network).state_dict(),
            "weights": validated.state_dict(),
            "optimizer": optimizer.state_dict(),
            "precision": precision.state_dict(),
            "step": step,
            "best_score": best_score,
            "stale": stale,
            "finished": finished,
            "identity": dict(identity),
        }

    steps = range(start, start if finished else plan.steps)
    order = Order(steps, plan.batch_size, plan.accumulate, fabric.global_rank, fabric.world_size)
    source = batches(fabric, stream, order, plan.workers)
    began = saved = time.perf_counter()
    waited, skipped = 0.0, 0
    for step in steps:
        network.train()
        rate = rate_at(step, plan)
        for group, base in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = base * rate
        optimizer.zero_grad(set_to_none=True)
        current = 0.0
        for part in range(plan.accumulate):
            asked = time.perf_counter()
            batch = next(source)
            waited += time.perf_counter() - asked
            if part == 0:  # after the loader, whose start draws numbers, too
                torch.manual_seed(_step_seed(seed, step, fabric.global_rank))
            with fabric.no_backward_sync(cast(Any, network), enabled=part + 1 < plan.accumulate):
                value = loss(network(batch["image"]), batch["label"]) / plan.accumulate
                fabric.backward(value)
            current += float(value.detach())  # waits for the device, which has all its work by now
            if not math.isfinite(current):
                raise _not_finite("loss", current, step, plan, hooks.describe)
        limit = math.inf if plan.clip_norm is None else plan.clip_norm
        norm = float(cast(Any, fabric.clip_gradients(network, optimizer, max_norm=limit, error_if_nonfinite=False)))
        skipped = 0 if math.isfinite(norm) else skipped + 1
        if skipped > (0 if getattr(precision, "scaler", None) is None else _SKIPPED_STEPS):  # it leaves such a step out
            raise _not_finite("gradient's norm", norm, step, plan, hooks.describe)
        optimizer.step()
        finished = step + 1 == plan.steps
        validating = finished or (step + 1) % plan.validate_every == 0
        if average is not None or validating:
            share_buffers(_plain(network))
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
        if validating:
            score = hooks.validate(validated.eval(), step + 1)
            if score is not None:
                stale = 0 if score > best_score else stale + 1
                if plan.patience is not None and stale >= plan.patience and not finished:
                    finished = True
                    hooks.log(f"stopped after step {step + 1}: no better score in {stale} validations")
                if score > best_score:
                    best_score = score
                    if fabric.is_global_zero:
                        save_checkpoint(folder / BEST, content(step + 1))
        if fabric.is_global_zero and (validating or time.perf_counter() - saved > plan.save_seconds):
            keep_last(folder, content(step + 1))
            saved = time.perf_counter()
        if finished:
            break
    fabric.barrier()
    if not fabric.is_global_zero:
        return {}
    result, complaints = first_good(folder, BEST, LAST, PREVIOUS)
    for complaint in complaints:
        hooks.log(complaint)
    assert result is not None  # written above or before
    return result


def _running_mean(decay: float) -> Callable[[Any, Any, Any], None]:
    """Of weights and floating-point buffers; torch's own would also average tables of indices, and round them."""
    mean_of = get_ema_multi_avg_fn(decay)

    def update(mean: Any, current: Any, count: Any) -> None:
        if mean[0].is_floating_point():
            mean_of(mean, current, count)
        else:
            for kept, new in zip(mean, current, strict=True):
                kept.copy_(new)

    return update


def _step_seed(seed: int, step: int, rank: int) -> int:
    return hash((seed, step) if rank == 0 else (seed, step, rank)) % 2**63


def _not_finite(what: str, value: float, step: int, plan: Plan, describe: Callable[[int], str]) -> NonFiniteLossError:
    samples = [describe(n) for n in range(step * plan.batch_size, (step + 1) * plan.batch_size)]
    return NonFiniteLossError(
        f"the {what} of step {step + 1} is {value}, of the batch {', '.join(samples)}; the last checkpoint is kept: "
        "lower the learning rate, or look at these samples, and go on"
    )


def _plain(network: nn.Module) -> nn.Module:
    """The network without Fabric's wrapper, and without DDP's."""
    inner = getattr(network, "module", network)
    assert isinstance(inner, nn.Module)
    return inner
