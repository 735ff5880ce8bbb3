"""Check all setting values, their ranges and their combinations, before any file is opened."""

from __future__ import annotations

import math

from medups.errors import InputError
from medups.settings.fields import check_ranges
from medups.settings.schema import FORMATS_OF_TASK, SAMPLING_OF_TASK, NetworkSettings, Settings, TrainingSettings


def check(settings: Settings) -> None:
    """Raise InputError for the first invalid setting."""
    check_ranges(settings)
    if not settings.output:
        raise InputError("output must name a folder, got nothing")
    _check_network(settings.network)
    _check_task(settings)
    _check_training(settings.training)
    if settings.training.steps == 0 and settings.weights.path is None:
        raise InputError("training.steps=0 keeps the starting weights: set weights.path, or train 1 step or more")
    if settings.network.sampling not in settings.training.augmentation:
        raise InputError(
            f"training.augmentation has no transforms for network.sampling={settings.network.sampling}; "
            "add an empty list for none"
        )
    low_high = settings.display_window
    if len(low_high) != 2 or not low_high[0] < low_high[1]:
        raise InputError(f"display_window must be two increasing numbers, got {low_high}")


def check_complete(settings: Settings) -> None:
    """Raise InputError if a setting is missing without which the dataset cannot be opened."""
    data = settings.data
    required = {
        "data.root": data.format == "list" or data.root,
        "data.cases": data.format != "list" or data.cases,
        "data.split.train": data.format != "list" or data.split.train,
        "data.source_labels": data.format not in ("list", "folders", "synapse", "pictures", "coco")
        or data.source_labels,
    }
    missing = [name for name, given in required.items() if not given]
    if missing:
        raise InputError(
            f"missing settings for data.format={data.format}: {', '.join(missing)}; set each with key=value"
        )


def _check_task(settings: Settings) -> None:
    """Raise InputError for a network or a dataset of another kind of task."""
    task, network, name = settings.task, settings.network, settings.data.format
    if network.sampling not in SAMPLING_OF_TASK[task]:
        fitting = next(name for name, kinds in SAMPLING_OF_TASK.items() if network.sampling in kinds)
        raise InputError(
            f"task={task}: network={network.name} is for task={fitting}; choose that task, or another network"
        )
    if name not in FORMATS_OF_TASK[task]:
        what = "scans" if task == "volume" else "pictures"
        raise InputError(f"data.format={name}: task={task} reads {what}: {' or '.join(FORMATS_OF_TASK[task])}")


def _check_network(network: NetworkSettings) -> None:
    spacing = network.spacing
    if spacing is not None and (len(spacing) != 3 or not all(0 < mm < math.inf for mm in spacing)):
        raise InputError(f"network.spacing must be three numbers of millimeters above 0, or null, got {spacing}")
    if network.sampling == "slices" and spacing:
        raise InputError("network.spacing is for networks on patches; slices keep their scan's spacing: set it to null")
    size = network.inferer.get("roi_size")
    is_box = isinstance(size, list) and len(size) == 3 and all(isinstance(n, int) and n > 0 for n in size)
    if network.sampling == "patches" and not is_box:
        raise InputError(
            "network.inferer.roi_size must be three whole numbers above 0 for network.sampling=patches, because it is "
            f"the patch size; got {size}"
        )


def _check_training(training: TrainingSettings) -> None:
    if (training.steps is None) == (training.epochs is None):
        raise InputError("training: set either steps or epochs, and the other to null")
    if training.batch_size % training.accumulate:
        raise InputError(
            f"training.accumulate must divide training.batch_size={training.batch_size}, got {training.accumulate}"
        )
    if (training.devices != "auto" and not str(training.devices).isdigit()) or str(training.devices) == "0":
        raise InputError(f"training.devices must be a whole number, 1 or more, or auto, got {training.devices!r}")
    milestones = training.milestones
    if (training.schedule == "steps") != bool(milestones) or not all(0 < at < 1 for at in milestones or ()):
        raise InputError(
            "training.milestones must be fractions of the run between 0 and 1 for training.schedule=steps, and null "
            f"for other schedules, got {milestones} for {training.schedule}"
        )
    for part, factor in training.rates.items():
        if factor is not None and not 0 <= factor < math.inf:
            raise InputError(f"training.rates.{part} must be a number, 0 or more, or null, got {factor!r}")
    for name in ("lr", "weight_decay"):
        value = training.optimizer.get(name)
        if value is None:
            raise InputError(f"training.optimizer.{name} is required")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InputError(f"training.optimizer.{name} must be a number, 0 or more, got {value!r}")
