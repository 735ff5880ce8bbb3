"""Set up a run from checked settings: code shared by training, baseline and profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from medups.bundle.model import Model, define, make_model
from medups.data.dataset import Dataset
from medups.data.labels import label_set
from medups.errors import InputError
from medups.instantiate import instantiate
from medups.io.files import user_path
from medups.progress import Progress
from medups.settings.schema import Settings, TrainingSettings, UpsamplerSettings, WeightsSettings
from medups.tasks import Task
from medups.training.param_groups import parameter_groups
from medups.training.plan import Plan, Schedule
from medups.weights import LoadReport, load_published
from medups.workflows.kinds import KINDS, Samples


@dataclass(frozen=True)
class Run:
    """Everything that training needs."""

    settings: Settings
    task: Task
    model: Model
    samples: Samples
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    weights: LoadReport | None


def output_folder(settings: Settings) -> Path:
    """The run folder, with ``~`` expanded."""
    return user_path(settings.output)


def set_up_run(settings: Settings, dataset: Dataset, progress: Progress) -> Run:
    """Build the untrained model from the seed, and read the cases into the cache.

    Raises:
        InputError: settings that cannot be built, or cases that cannot be read.
    """
    target = label_set(settings.label_set)
    dataset.require_organs(target)
    for note in dataset.notes:
        progress.log(note)
    torch.manual_seed(settings.seed)
    kind = KINDS[settings.task]
    task = kind.task(target)
    model = make_model(_definition(settings, task, dataset), "config")
    weights = _start_from(model.network, settings.weights)
    if settings.network.sampling != "patches":
        _channels_last(model.network)  # a third faster, on a CPU and in half precision on a GPU
    loss = instantiate(settings.training.loss, "training.loss")
    optimizer = _optimizer(model.network, settings.training)
    samples = kind.open(settings, dataset, target, progress)
    return Run(settings, task, model, samples, loss, optimizer, weights)


def network_spec(module: Mapping[str, Any], upsampler: UpsamplerSettings) -> Mapping[str, Any]:
    """The network as configured; a network that takes no upsampler has its own swapped, unless ``native`` is chosen."""
    if upsampler.name is None or "upsampler" in module:
        return module
    target = "medups.networks.with_upsampler"
    return {"_target_": target, "network": module, "upsampler": upsampler.name, "options": upsampler.options}


def plan_of(training: TrainingSettings, samples_per_epoch: int) -> Plan:
    """The plan with ``epochs`` converted to steps."""
    steps = training.steps
    if steps is None:
        assert training.epochs is not None  # guaranteed by the settings checks
        steps = training.epochs * max(1, samples_per_epoch // training.batch_size)
    return Plan(
        steps=steps,
        batch_size=training.batch_size,
        validate_every=max(1, steps // training.validations),
        poly_power=training.poly_power,
        schedule=cast(Schedule, training.schedule),
        milestones=tuple(training.milestones or ()),
        accumulate=training.accumulate,
        warmup_steps=training.warmup_steps,
        workers=training.workers,
        clip_norm=training.clip_norm,
        ema_decay=training.ema_decay,
        patience=training.patience,
        save_seconds=training.save_seconds,
    )


def _definition(settings: Settings, task: Task, dataset: Dataset) -> dict[str, Any]:
    network = settings.network
    definition = define(
        network_spec(network.module, settings.upsampler),
        settings.preprocessing,
        network.inferer,
        label_set(settings.label_set),
        network.spacing,
        dataset.names,
        task=task.name,
        modality=settings.modality,
        display_window=settings.display_window,
    )
    definition["medups"]["data_format"] = task.data_format(definition)
    return definition


def _start_from(network: nn.Module, weights: WeightsSettings) -> LoadReport | None:
    if weights.path is None:
        return None
    try:
        return load_published(network, user_path(weights.path), weights.layout, weights.strict)
    except ValueError as error:
        raise InputError(f"weights: {error}") from error


def _channels_last(network: nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _optimizer(network: nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
    spec = training.optimizer
    try:
        groups = parameter_groups(
            network,
            float(spec["lr"]),
            float(spec["weight_decay"]),
            decay_all=training.decay_all,
            rates=training.rates,
            adaptive=not str(spec["_target_"]).endswith("SGD"),
        )
    except ValueError as error:
        raise InputError(f"training.rates: {error}") from error
    if training.precision == "16-mixed":  # Fabric cannot clip the gradient of an optimizer that unscales it itself
        spec = {name: value for name, value in spec.items() if name != "fused"}
    optimizer: torch.optim.Optimizer = instantiate(spec, "training.optimizer", params=groups)
    return optimizer
