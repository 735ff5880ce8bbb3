"""From a configuration to a trained bundle."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from lightning_fabric import Fabric
from monai.transforms import Compose
from torch import nn

from medups.bundle.model import Model, define, load_bundle, make_model, write_bundle
from medups.bundle.records import Display, Records, records
from medups.bundle.samples import open_source, sample_transforms
from medups.config import build, number, whole_number
from medups.data.cache import CachedCase, read_cases
from medups.data.cases import Case
from medups.data.dataset import Dataset, open_dataset
from medups.data.labels import label_set
from medups.data.sampling import SampleStream, Source
from medups.errors import InputError
from medups.files import file_sha256, require_writable, write_json
from medups.metrics import dice
from medups.report.overlay import overlay_array
from medups.training.checkpoint import LAST, PREVIOUS, first_good
from medups.training.footprint import footprint
from medups.training.groups import parameter_groups
from medups.training.loop import Hooks, Plan, Schedule, train
from medups.training.objective import objective
from medups.training.ranks import gathered_objects, make_fabric, share_of
from medups.weights import LoadReport, load_published

_MAY_CHANGE = ("accelerator", "devices", "num_nodes", "workers", "save_seconds")
_HALF = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@dataclass(frozen=True)
class Run:
    """A training run whose configuration was checked and whose cases were read."""

    config: Mapping[str, Any]
    model: Model
    source: Source
    transform: Compose
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    train: list[CachedCase]
    val: list[CachedCase]
    weights: LoadReport | None

    @property
    def folder(self) -> Path:
        return output_folder(self.config)


def output_folder(config: Mapping[str, Any]) -> Path:
    """Where the run goes. Raises InputError where ``config`` does not say."""
    if not config["output"]:
        raise InputError("output must name a folder, got nothing")
    return Path(str(config["output"]))


def train_bundle(config: Mapping[str, Any], display: Display) -> Path:
    """Train what ``config`` (the resolved ``train.yaml``) describes; returns the bundle's folder.

    The run folder ``config["output"]`` gets ``bundle/``, ``checkpoints/``, ``log.txt``, ``config.json`` and
    TensorBoard events. A run that was interrupted goes on; one that is finished stays as it is.

    Raises:
        InputError: anything wrong with configuration or data, before the run folder is made.
    """
    folder = output_folder(config)
    require_writable(folder)
    dataset = open_dataset(config["data"])
    identity = _identity(config, dataset)
    done, finished = _progress(folder / "checkpoints", identity)
    fabric = make_fabric(config["training"])
    run = prepare(config, dataset, display)
    plan = make_plan(config["training"], len(run.source))
    bundle = folder / "bundle"
    if finished and (bundle / "models" / "model.pt").is_file():
        load_bundle(bundle)
        display.log(f"{folder}: this run is finished after {done} steps; choose another output to train again")
        return bundle
    fabric.launch()
    share_of(plan.batch_size, plan.accumulate, fabric.world_size)
    with records(folder, display, fabric.is_global_zero, done) as kept:
        if fabric.is_global_zero:
            write_json(folder / "config.json", dict(config))
        if run.weights is not None:
            if fabric.is_global_zero:
                write_json(folder / "weights.json", asdict(run.weights))
            kept.log(f"{config['weights']['path']}: {run.weights}")
        state = _fit(fabric, run, plan, identity, kept, display, done)
        if fabric.is_global_zero:
            write_bundle(bundle, run.model, state["weights"], f"{config['name']}, step {state['step']}")
            kept.log(f"bundle of step {state['step']} of {plan.steps}: {bundle}")
    return bundle


def prepare(config: Mapping[str, Any], dataset: Dataset, display: Display) -> Run:
    """Check the configuration, build the untrained model from the seed, and read the cases into the cache."""
    data, network, seed = config["data"], config["network"], whole_number(config["seed"], "seed", 0)
    if network["sampling"] == "slices" and network["spacing"]:
        raise InputError("network.spacing is for networks that take patches; slices are taken as they are: give null")
    target = label_set(str(config["label_set"]))
    dataset.require_organs(target)
    definition = define(
        network_spec(network["module"], config["upsampler"]),
        config["preprocessing"],
        network["inferer"],
        target,
        network["spacing"],
        dataset.names,
    )
    torch.manual_seed(seed)
    model = make_model(definition, "config")
    weights = _start_from(model.network, config["weights"])
    if network["sampling"] == "slices":
        _channels_last(model.network)  # a third faster, on a CPU and in half precision on a GPU
    transforms = sample_transforms(config)
    loss = build(config["training"]["loss"], "training.loss")
    optimizer = _optimizer(model.network, config["training"])

    def read(part: str, cases: Sequence[Case]) -> list[CachedCase]:
        stored = read_cases(cases, data["cache"], dataset.labels, target, network["spacing"])
        return list(display.track(stored, f"reading {part} cases", len(cases)))

    train, val = read("train", dataset.train), read("val", dataset.val)
    source = open_source(config, transforms, train, display)
    return Run(config, model, source, transforms.each, loss, optimizer, train, val, weights)


def network_spec(module: Mapping[str, Any], upsampler: Mapping[str, Any]) -> Mapping[str, Any]:
    """The network as configured; one that takes no upsampler has its own swapped, unless that is ``native``."""
    if upsampler["name"] is None or "upsampler" in module:
        return module
    target = "medups.networks.with_upsampler"
    return {"_target_": target, "network": module, "upsampler": upsampler["name"], "options": upsampler["options"]}


def _optimizer(network: nn.Module, training: Mapping[str, Any]) -> torch.optim.Optimizer:
    spec = training["optimizer"]
    missing = [name for name in ("lr", "weight_decay") if name not in spec]
    if missing:
        raise InputError(f"training.optimizer: {' and '.join(missing)} must be given")
    groups = parameter_groups(
        network,
        number(spec["lr"], "training.optimizer.lr", 0),
        number(spec["weight_decay"], "training.optimizer.weight_decay", 0),
        decay_all=bool(training["decay_all"]),
        upsampler_rate=number(training["upsampler_rate"], "training.upsampler_rate", 0),
    )
    if training["precision"] == "16-mixed":  # Fabric cannot clip what an optimizer unscales by itself
        spec = {name: value for name, value in spec.items() if name != "fused"}
    optimizer: torch.optim.Optimizer = build(spec, "training.optimizer", params=groups)
    return optimizer


def _start_from(network: nn.Module, weights: Mapping[str, Any]) -> LoadReport | None:
    if weights["path"] is None:
        return None
    try:
        return load_published(network, weights["path"], str(weights["layout"]), bool(weights["strict"]))
    except ValueError as error:
        raise InputError(f"weights: {error}") from error


def make_plan(training: Mapping[str, Any], epoch: int) -> Plan:
    """Steps from ``epochs`` of ``epoch`` samples, or as given."""
    if (training["steps"] is None) == (training["epochs"] is None):
        raise InputError("training: give either steps or epochs, and null for the other")

    def whole(name: str, low: int = 1) -> int:
        return whole_number(training[name], f"training.{name}", low)

    def real(name: str, high: float = math.inf) -> float:
        return number(training[name], f"training.{name}", 0, high)

    batch, accumulate = whole("batch_size"), whole("accumulate")
    if batch % accumulate:
        raise InputError(f"training.accumulate must divide training.batch_size={batch}, got {accumulate}")
    if training["schedule"] not in get_args(Schedule):
        raise InputError(f"training.schedule must be one of {get_args(Schedule)}, got {training['schedule']!r}")
    steps = whole("epochs") * max(1, epoch // batch) if training["steps"] is None else whole("steps")
    return Plan(
        steps=steps,
        batch_size=batch,
        validate_every=max(1, steps // whole("validations")),
        poly_power=real("poly_power"),
        schedule=training["schedule"],
        accumulate=accumulate,
        warmup_steps=whole("warmup_steps", 0),
        workers=whole("workers", 0),
        clip_norm=None if training["clip_norm"] is None else real("clip_norm"),
        ema_decay=None if training["ema_decay"] is None else real("ema_decay", 1),
        patience=None if training["patience"] is None else whole("patience"),
        save_seconds=real("save_seconds"),
    )


def _fit(
    fabric: Fabric,
    run: Run,
    plan: Plan,
    identity: Mapping[str, Any],
    kept: Records,
    display: Display,
    done: int,
) -> dict[str, Any]:
    model, seed = run.model, int(run.config["seed"])
    stream = SampleStream(run.source, run.transform, seed, plan.steps * plan.batch_size)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    places = f"{fabric.world_size} x {fabric.device.type}" if fabric.world_size > 1 else str(fabric.device)
    kept.log(f"{run.config['name']}: {parameters:,} parameters, {plan.steps} steps of {plan.batch_size} on {places}")
    if fabric.is_global_zero:
        own = share_of(plan.batch_size, plan.accumulate, fabric.world_size)
        half = _HALF.get(str(run.config["training"]["precision"]))
        copies = int(plan.ema_decay is not None)
        needs = footprint(model.network, run.optimizer, stream[0], own, plan.workers, half, copies)
        kept.log(needs.describe(fabric.device))
    if not run.val:
        kept.log("no validation cases: the last weights are kept; fold=0 to 4 holds a fifth of the cases out")
    began = time.perf_counter()
    now: dict[str, float] = {}

    def scalars(values: Mapping[str, float], step: int) -> None:
        now.update(values)
        kept.scalars("train", values, step)

    def validate(network: nn.Module, step: int) -> float | None:
        kept.note(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in now.items()))
        if not run.val:
            return None
        scores = _validate(run, network, fabric, kept, step)
        mean = float(np.mean(list(scores.values())))
        kept.scalars("val", {"dice": mean, **{f"dice_{organ}": value for organ, value in scores.items()}}, step)
        organs = ", ".join(f"{organ} {value:.3f}" for organ, value in scores.items())
        kept.log(f"step {step}: validation Dice {mean:.3f} ({organs}) after {time.perf_counter() - began:.0f} s")
        return mean

    hooks = Hooks(
        validate=validate,
        scalars=scalars,
        progress=display.steps(plan.steps, done),
        log=kept.log,
        describe=stream.describe,
    )
    folder = run.folder / "checkpoints"
    return train(fabric, model.network, objective(run.loss), run.optimizer, stream, plan, hooks, folder, identity, seed)


def _channels_last(network: nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _validate(run: Run, network: nn.Module, fabric: Fabric, kept: Records, step: int) -> dict[str, float]:
    """Mean Dice over the validation cases by organ; organs that no case has are left out. Processes share the cases."""
    model = Model(network, run.model.labels, run.model.definition, run.model.inferer, run.model.preprocessing)
    own: dict[str, list[float]] = {organ: [] for organ in model.labels.names}
    for turn in range(fabric.global_rank, len(run.val), fabric.world_size):
        case = run.val[turn]
        image, label = case.image[:].astype(np.float32), case.label[:]
        pred = model.segment(image, fabric.device)
        for organ, scores in own.items():
            score = dice(pred == model.labels.id_of(organ), label == model.labels.id_of(organ))
            if score is not None:
                scores.append(score)
        if turn == 0:
            spacing = case.spacing[0], case.spacing[1], case.spacing[2]
            masks = {"prediction": pred, "label": label}
            picture = overlay_array(image, masks, model.labels.organs, spacing, f"case {case.name}, step {step}")
            kept.picture("val/overlay", picture, step)
    found = {organ: [score for part in gathered_objects(own) for score in part[organ]] for organ in own}
    return {organ: float(np.mean(scores)) for organ, scores in found.items() if scores}


def _identity(config: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """What must not change when a run is resumed: everything but places and devices."""
    own = {key: config[key] for key in ("name", "label_set", "network", "upsampler", "preprocessing", "seed")}
    own["training"] = {key: value for key, value in config["training"].items() if key not in _MAY_CHANGE}
    own["data"] = {"layout": config["data"]["layout"], "labels": {str(k): v for k, v in dataset.labels.organs.items()}}
    own["organs"] = {str(number): organ for number, organ in label_set(str(config["label_set"])).organs.items()}
    own["cases"] = {part: list(dataset.names[part]) for part in ("train", "val")}  # their order makes the samples
    weights = config["weights"]
    try:  # the file's content, wherever it lies
        own["weights"] = {**weights, "path": weights["path"] and file_sha256(weights["path"]).hex()}
    except OSError as error:
        raise InputError(f"weights.path: {weights['path']}: cannot be read ({error.strerror})") from error
    return own


def _progress(folder: Path, identity: Mapping[str, Any]) -> tuple[int, bool]:
    """Steps that are done, and whether that is all."""
    state, _ = first_good(folder, LAST, PREVIOUS)
    if state is None:
        return 0, False
    changed = sorted(_differences(state.get("identity", {}), identity))
    if changed:
        raise InputError(
            f"{folder}: the run there was started with another configuration ({', '.join(changed)}); "
            "choose another output, or the same configuration to resume"
        )
    return int(state["step"]), bool(state["finished"])


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new and path.startswith("cases.") and isinstance(old, list) and isinstance(new, list):
        gone, came = ([name for name in one if name not in other] for one, other in ((old, new), (new, old)))
        changes = [f"{what} {', '.join(names)}" for what, names in (("without", gone), ("with", came)) if names]
        yield f"{path}: {' and '.join(changes) or 'the same in another order'} now"
    elif old != new:
        yield f"{path}: {old} then, {new} now"
