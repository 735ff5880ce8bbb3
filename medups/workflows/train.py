"""Train a network from settings and write its bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from medups.bundle.model import load_bundle, write_bundle
from medups.data.dataset import Dataset, open_dataset
from medups.data.labels import label_set
from medups.data.sampling import SampleStream
from medups.errors import InputError
from medups.io.checkpoints import BEST, LAST, PREVIOUS, first_intact
from medups.io.files import file_sha256, require_writable, user_path, write_json
from medups.io.locks import only_process
from medups.progress import Progress, SilentProgress
from medups.report.run_log import RunLog, open_run_log
from medups.settings.compose import as_dict
from medups.settings.schema import Settings
from medups.tasks.task import Batch
from medups.training.distributed import is_first, launch, make_fabric, samples_per_process
from medups.training.memory import estimate_memory
from medups.training.objective import objective
from medups.training.plan import Plan
from medups.training.resume import progress_of
from medups.training.trainer import Hooks, Trainer
from medups.training.validation import Validator
from medups.training.watch import Measures, Watch
from medups.workflows.setup import Run, output_folder, plan_of, set_up_run

_MAY_CHANGE = ("accelerator", "devices", "num_nodes", "workers", "save_seconds", "watch_every")
_HALF_DTYPES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Args:
        bundle: the folder of the trained model.
        step: training step of the weights in the bundle.
        score: mean validation score of those weights, None without validation cases.
    """

    bundle: Path
    step: int
    score: float | None


def train(settings: Settings, progress: Progress | None = None) -> TrainResult:
    """Train the network that ``settings`` describe.

    The run folder ``settings.output`` receives ``bundle/``, ``checkpoints/``, ``log.txt``, ``config.json`` and
    TensorBoard events. An interrupted run is resumed; a finished run is left unchanged.

    Raises:
        InputError: invalid settings or data, before the run folder is created; or another process trains in it.
        torch.OutOfMemoryError: the GPU's memory is too small.
    """
    progress = progress or SilentProgress()
    folder = output_folder(settings)
    require_writable(folder)
    with only_process(folder, "a training run") if is_first() else nullcontext():
        return _train(settings, folder, progress)


def _train(settings: Settings, folder: Path, progress: Progress) -> TrainResult:
    dataset = open_dataset(settings.data)
    identity = _identity(settings, dataset)
    done, finished = progress_of(folder / "checkpoints", identity)
    bundle = folder / "bundle"
    if finished and (bundle / "models" / "model.pt").is_file():
        load_bundle(bundle)
        progress.log(f"{folder}: this run finished after {done} steps; choose another output to train again")
        state, _ = first_intact(folder / "checkpoints", BEST, LAST, PREVIOUS)
        return _result(bundle, state or {})
    fabric = make_fabric(*_devices(settings))
    run = set_up_run(settings, dataset, progress)
    plan = plan_of(settings.training, len(run.samples.source))
    launch(fabric)
    samples_per_process(plan.batch_size, plan.accumulate, fabric.world_size)
    with open_run_log(folder, progress.log, fabric.is_global_zero, done) as log:
        if fabric.is_global_zero:
            write_json(folder / "config.json", as_dict(settings))
            if run.weights is not None:
                write_json(folder / "weights.json", asdict(run.weights))
        if run.weights is not None:
            log.log(f"{settings.weights.path}: {run.weights}")
        state = _fit(fabric, run, plan, identity, log, progress, done)
        if fabric.is_global_zero:
            write_bundle(bundle, run.model, state["weights"], f"{settings.name}, step {state['step']}")
            log.log(f"bundle of step {state['step']} of {plan.steps}: {bundle}")
    return _result(bundle, state)


def _result(bundle: Path, state: Mapping[str, Any]) -> TrainResult:
    score = state.get("best_score")
    return TrainResult(bundle, int(state.get("step", 0)), score if score is not None and np.isfinite(score) else None)


def _devices(settings: Settings) -> tuple[str, int | str, int, str]:
    training = settings.training
    return training.accelerator, training.devices, training.num_nodes, training.precision


def _fit(
    fabric: Fabric,
    run: Run,
    plan: Plan,
    identity: Mapping[str, Any],
    log: RunLog,
    progress: Progress,
    done: int,
) -> dict[str, Any]:
    name, network = run.settings.name, run.model.network
    parameters = sum(parameter.numel() for parameter in network.parameters())
    devices = f"{fabric.world_size} x {fabric.device.type}" if fabric.world_size > 1 else str(fabric.device)
    log.log(f"{name}: {parameters:,} parameters, {plan.steps} steps of {plan.batch_size} on {devices}")
    if not run.samples.val:
        log.log("no validation cases, so the last weights are used; fold=0 to 4 holds out a fifth of the cases")
    hooks = _hooks(fabric, run, log, progress.steps(plan.steps, done))
    trainer = _trainer(fabric, run, plan, identity, hooks, output_folder(run.settings))
    if (every := run.settings.training.watch_every) is not None and fabric.is_global_zero:
        trainer.watch = Watch(every, partial(_log_measures, log))
    if fabric.is_global_zero:
        log.log(_memory(fabric, run, plan, trainer.stream[0]))
    try:
        return trainer.run()
    except torch.OutOfMemoryError as error:
        advice = (
            "set training.accumulate=2 or more (the samples stay the same), or training.precision=bf16-mixed, and "
            "another output"
        )
        raise torch.OutOfMemoryError(f"{error}; {advice}") from error


def _memory(fabric: Fabric, run: Run, plan: Plan, sample: Batch) -> str:
    """The estimated memory, in words."""
    share = samples_per_process(plan.batch_size, plan.accumulate, fabric.world_size)
    dtype = _HALF_DTYPES.get(run.settings.training.precision)
    copies = int(plan.ema_decay is not None)
    image = run.task.network_input(sample)
    try:
        need = estimate_memory(run.model.network, run.optimizer, sample, image, share, plan.workers, dtype, copies)
    except Exception as error:  # a network whose shapes depend on values, or an operator that cannot compute shapes
        return f"memory: no estimate for this network ({type(error).__name__})"
    return need.describe(fabric.device)


def _trainer(fabric: Fabric, run: Run, plan: Plan, identity: Mapping[str, Any], hooks: Hooks, folder: Path) -> Trainer:
    stream = SampleStream(
        run.samples.source, run.samples.transform, run.task, run.settings.seed, plan.steps * plan.batch_size
    )
    hooks.describe = stream.describe
    return Trainer(
        fabric=fabric,
        task=run.task,
        network=run.model.network,
        loss=objective(run.loss),
        optimizer=run.optimizer,
        stream=stream,
        plan=plan,
        hooks=hooks,
        folder=folder / "checkpoints",
        identity=identity,
        seed=run.settings.seed,
    )


def _hooks(fabric: Fabric, run: Run, log: RunLog, show_step: Any) -> Hooks:
    start = time.perf_counter()
    latest: dict[str, float] = {}
    samples, measure = run.samples, run.task.measure

    def predict(network: nn.Module, case: Any) -> tuple[Any, Any]:
        return samples.predict(replace(run.model, network=network), case, fabric.device)

    def show(case: Any, prediction: Any, reference: Any, step: int) -> None:
        picture = samples.picture(run.model, case, prediction, reference, f"case {case.name}, step {step}")
        log.picture("val/overlay", picture, step)

    validator = Validator(run.task, fabric, samples.val, predict, show)

    def scalars(values: Mapping[str, float], step: int) -> None:
        latest.update(values)
        log.scalars("train", values, step)

    def validate(network: nn.Module, step: int) -> float | None:
        log.note(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in latest.items()))
        if not samples.val:
            return None
        scores = validator(network, step)
        mean = float(np.mean(list(scores.values()))) if scores else 0.0
        key = measure.lower()
        log.scalars("val", {key: mean, **{f"{key}_{organ}": value for organ, value in scores.items()}}, step)
        organs = ", ".join(f"{organ} {value:.3f}" for organ, value in scores.items())
        log.log(f"step {step}: validation {measure} {mean:.3f} ({organs}) after {time.perf_counter() - start:.0f} s")
        return mean

    return Hooks(validate=validate, scalars=scalars, progress=show_step, log=log.log)


def _log_measures(log: RunLog, measures: Measures, step: int) -> None:
    for path, values in measures.items():
        log.scalars(f"upsamplers/{path}", values, step)
        log.note(f"step {step}: {path}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items()))


def _identity(settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """The values that determine the weights. Paths, devices, workers, test cases and display may change."""
    values = as_dict(settings)
    identity = {key: values[key] for key in ("task", "name", "network", "upsampler", "preprocessing", "seed")}
    identity["training"] = {key: value for key, value in values["training"].items() if key not in _MAY_CHANGE}
    labels = {str(number): organ for number, organ in dataset.labels.organs.items()}
    identity["data"] = {"format": settings.data.format, "labels": labels}
    identity["organs"] = {str(number): organ for number, organ in label_set(settings.label_set).organs.items()}
    identity["cases"] = {part: list(dataset.names[part]) for part in ("train", "val")}  # sampling depends on the order
    path = settings.weights.path
    try:  # the content of the file, not its path
        checksum = path and file_sha256(user_path(path)).hex()
    except OSError as error:
        raise InputError(f"weights.path: {path}: cannot be read ({error.strerror})") from error
    identity["weights"] = {**values["weights"], "path": checksum}
    return identity
