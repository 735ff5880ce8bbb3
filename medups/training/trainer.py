"""The training loop, with validation, checkpoints and resuming."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import Dataset

from medups.errors import InputError
from medups.io.checkpoints import BEST, LAST, PREVIOUS, first_intact, keep_last, save_checkpoint
from medups.tasks.task import Batch, Task
from medups.training.averaging import average_of
from medups.training.batches import BatchShareSampler, batches, dead_workers_reported
from medups.training.distributed import gathered_objects, share_buffers
from medups.training.objective import Objective
from medups.training.plan import Plan, rate_at
from medups.training.watch import Watch

_MAX_SKIPPED_STEPS = 50  # in a row; a gradient scaler halves its scale of 65536 to nothing well before


@dataclass
class Hooks:
    """Functions that the trainer calls; none of them changes the weights.

    Args:
        validate: scores the network in eval mode after ``step`` steps. Returns the score to maximize, the same in every
            process, or None if there is nothing to validate on.
        scalars: called after every step with its named values.
        progress: called after every step with the step and its loss.
        log: called with messages.
        describe: returns a description of the sample with this number.
    """

    validate: Callable[[nn.Module, int], float | None]
    scalars: Callable[[Mapping[str, float], int], None]
    progress: Callable[[int, float], None]
    log: Callable[[str], None]
    describe: Callable[[int], str] = str


class NonFiniteLossError(RuntimeError):
    """A loss or gradient is not finite; the last checkpoint is intact."""


@dataclass
class Trainer:
    """Trains ``network`` for ``plan.steps`` steps, resuming from the last intact checkpoint in ``folder``.

    Args:
        fabric: already launched; each of its processes takes its share of every batch.
        task: how batches feed the network and the loss.
        loss: of the network's output and the task's target.
        stream: sample n of the run is ``stream[n]``; step s takes samples s * batch_size onward.
        folder: receives ``last.pt``, ``previous.pt`` and ``best.pt``.
        identity: plain values stored with the checkpoint; the caller compares them before resuming.
        seed: the random numbers of step s in a process depend on (seed, s, rank) only.
        watch: measures the upsamplers while they train; None for none.
    """

    fabric: Fabric
    task: Task
    network: nn.Module
    loss: Objective
    optimizer: torch.optim.Optimizer
    stream: Dataset[Batch]
    plan: Plan
    hooks: Hooks
    folder: Path
    identity: Mapping[str, Any]
    seed: int
    watch: Watch | None = None
    steps_done: int = field(default=0, init=False)
    best_score: float = field(default=-math.inf, init=False)
    stale: int = field(default=0, init=False)  # validations since the best score
    finished: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._precision: Any = self.fabric.strategy.precision
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._average = None if self.plan.ema_decay is None else average_of(self.network, self.plan.ema_decay)
        self._skipped = 0
        self._waited = 0.0

    def run(self) -> dict[str, Any]:
        """Train to the end.

        Returns:
            The checkpoint with the best validation score, or the last one if nothing was validated. Its ``weights`` are
            those that were validated. Empty in processes after the first.

        Raises:
            InputError: a batch that the processes cannot share evenly, no intact checkpoint, or processes that see
                different checkpoints.
            NonFiniteLossError: a loss or gradient is not finite; with a gradient scaler, 50 times in a row.
            CheckpointError: a checkpoint could not be written, for example to a full disk.
            DataWorkerError: a data worker died or could not prepare a sample.
        """
        with dead_workers_reported():
            self.resume()
            if not self.plan.steps and not self.finished:  # the starting weights, such as published ones
                self.finished = True
                self.validate()
                self.save()
            first = self.steps_done
            steps = range(first, first if self.finished else self.plan.steps)
            sampler = BatchShareSampler(
                steps, self.plan.batch_size, self.plan.accumulate, self.fabric.global_rank, self.fabric.world_size
            )
            source = batches(self.fabric, self.stream, sampler, self.plan.workers, self.task.collate)
            began = saved = time.perf_counter()
            for step in steps:
                scalars = self.step(step, source)
                elapsed = time.perf_counter() - began
                scalars["samples_per_second"] = (step + 1 - first) * self.plan.batch_size / elapsed
                scalars["waiting_for_data"] = self._waited / elapsed
                self.hooks.progress(step + 1, scalars["loss"])
                self.hooks.scalars(scalars, step + 1)
                validating = self._validates_after(step)
                if validating:
                    self.validate()
                if validating or time.perf_counter() - saved > self.plan.save_seconds:
                    self.save()
                    saved = time.perf_counter()
                if self.finished:
                    break
        self.fabric.barrier()
        return self._result()

    def resume(self) -> None:
        """Set up network and optimizer on the device, with the state of the last intact checkpoint if there is one."""
        state, skipped = first_intact(self.folder, LAST, PREVIOUS)
        for message in skipped:
            self.hooks.log(message)
        if state is not None:
            self.network.load_state_dict(state["network"])
            self._precision.load_state_dict(state["precision"])
            self.steps_done, self.best_score = state["step"], state["best_score"]
            self.stale, self.finished = state["stale"], state["finished"]
            if self._average is not None:
                self._average.module.load_state_dict(state["weights"])
                self._average.n_averaged.fill_(self.steps_done)
            if not self.finished:
                self.hooks.log(f"resuming after step {self.steps_done} of {self.plan.steps}")
        if len(steps := {*gathered_objects(self.steps_done)}) > 1:
            raise InputError(
                f"{self.folder}: processes see checkpoints of steps {steps}; choose a folder that all nodes share"
            )
        wrapped = self.fabric.setup(self.network, self.optimizer)
        self.network, self.optimizer = cast(tuple[nn.Module, torch.optim.Optimizer], wrapped)
        if state is not None:  # after the weights are on their device, because the optimizer's moments follow them
            self.optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.module.to(self.fabric.device)

    def step(self, step: int, source: Iterator[Batch]) -> dict[str, float]:
        """Run one optimizer step and return its named values."""
        self.network.train()
        rate = rate_at(step, self.plan)
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * rate
        self.optimizer.zero_grad(set_to_none=True)
        with nullcontext() if self.watch is None else self.watch.step(_unwrapped(self.network), step + 1):
            loss = self._accumulate(step, source)
            norm = self._clip(step)
            self.optimizer.step()
        self.steps_done = step + 1
        self.finished = self.steps_done == self.plan.steps
        if self._average is not None or self._validates_after(step):
            share_buffers(_unwrapped(self.network))
        if self._average is not None:
            self._average.update_parameters(_unwrapped(self.network))
        scalars = {"loss": loss, "learning_rate": self._base_rates[0] * rate, "gradient_norm": norm}
        if self.fabric.device.type == "cuda":
            scalars["gpu_memory_gib"] = torch.cuda.max_memory_allocated(self.fabric.device) / 2**30
        return scalars

    def validate(self) -> None:
        """Score the weights, save them if they are the best, and stop early after ``plan.patience`` validations."""
        score = self.hooks.validate(self._validated().eval(), self.steps_done)
        if score is None:
            return
        improved = score > self.best_score
        self.stale = 0 if improved else self.stale + 1
        if self.plan.patience is not None and self.stale >= self.plan.patience and not self.finished:
            self.finished = True
            self.hooks.log(f"stopped after step {self.steps_done}: no better score in {self.stale} validations")
        if improved:
            self.best_score = score
            if self.fabric.is_global_zero:
                save_checkpoint(self.folder / BEST, self._state())

    def save(self) -> None:
        """Write ``last.pt``, in the first process."""
        if self.fabric.is_global_zero:
            keep_last(self.folder, self._state())

    def _accumulate(self, step: int, source: Iterator[Batch]) -> float:
        """Forward and backward passes over the parts of a batch; returns the loss."""
        total = 0.0
        for part in range(self.plan.accumulate):
            requested = time.perf_counter()
            batch = next(source)
            self._waited += time.perf_counter() - requested
            if part == 0:  # after the loader, which also draws random numbers when it starts
                torch.manual_seed(step_seed(self.seed, step, self.fabric.global_rank))
            network = cast(Any, self.network)
            with self.fabric.no_backward_sync(network, enabled=part + 1 < self.plan.accumulate):
                value = self.loss(network(self.task.network_input(batch)), self.task.target(batch))
                value = value / self.plan.accumulate
                self.fabric.backward(value)
            total += float(value.detach())  # waits for the device, whose work is all queued by now
            if not math.isfinite(total):
                raise self._not_finite("loss", total, step)
        return total

    def _clip(self, step: int) -> float:
        """Clip the gradient and return its norm before clipping."""
        limit = math.inf if self.plan.clip_norm is None else self.plan.clip_norm
        network, optimizer = cast(Any, self.network), cast(Any, self.optimizer)
        clipped = self.fabric.clip_gradients(network, optimizer, max_norm=limit, error_if_nonfinite=False)
        norm = float(cast(Any, clipped))
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        # a gradient scaler skips such a step
        if self._skipped > (0 if getattr(self._precision, "scaler", None) is None else _MAX_SKIPPED_STEPS):
            raise self._not_finite("gradient norm", norm, step)
        return norm

    def _validates_after(self, step: int) -> bool:
        return step + 1 == self.plan.steps or (step + 1) % self.plan.validate_every == 0

    def _validated(self) -> nn.Module:
        return _unwrapped(self.network) if self._average is None else self._average.module

    def _state(self) -> dict[str, Any]:
        return {
            "network": _unwrapped(self.network).state_dict(),
            "weights": self._validated().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self._precision.state_dict(),
            "step": self.steps_done,
            "best_score": self.best_score,
            "stale": self.stale,
            "finished": self.finished,
            "identity": dict(self.identity),
        }

    def _result(self) -> dict[str, Any]:
        if not self.fabric.is_global_zero:
            return {}
        state, skipped = first_intact(self.folder, BEST, LAST, PREVIOUS)
        for message in skipped:
            self.hooks.log(message)
        assert state is not None  # written by this run or an earlier one
        return {**state, "best_score": -math.inf} if skipped else state  # the score is of weights that are lost

    def _not_finite(self, quantity: str, value: float, step: int) -> NonFiniteLossError:
        size = self.plan.batch_size
        samples = [self.hooks.describe(n) for n in range(step * size, (step + 1) * size)]
        return NonFiniteLossError(
            f"the {quantity} of step {step + 1} is {value} for the batch {', '.join(samples)}; the last checkpoint is "
            "intact: lower the learning rate, or check these samples, and resume"
        )


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of a step's random numbers in one process, which depends on nothing before it."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0]) >> 1


def _unwrapped(network: nn.Module) -> nn.Module:
    """The network without the wrappers of Fabric and DDP."""
    inner = getattr(network, "module", network)
    assert isinstance(inner, nn.Module)
    return inner
