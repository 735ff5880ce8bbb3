"""Check all setting values, their ranges and their combinations, before any file is opened."""

from __future__ import annotations

import math

from medups.errors import InputError
from medups.settings.fields import check_ranges
from medups.settings.schema import NetworkSettings, Settings, TrainingSettings


def check(settings: Settings) -> None:
    """Raise InputError for the first invalid setting."""
    check_ranges(settings)
    if not settings.output:
        raise InputError("output must name a folder, got nothing")
    _check_network(settings.network)
    _check_training(settings.training)
    if settings.network.sampling not in settings.training.augmentation:
        raise InputError(
            f"training.augmentation has no transforms for network.sampling={settings.network.sampling}; "
            "add an empty list for none"
        )
    low_high = settings.display_window
    if len(low_high) != 2 or not low_high[0] < low_high[1]:
        raise InputError(f"display_window must be two increasing numbers, got {low_high}")


def _check_network(network: NetworkSettings) -> None:
    spacing = network.spacing
    if spacing is not None and (len(spacing) != 3 or not all(0 < mm < math.inf for mm in spacing)):
        raise InputError(f"network.spacing must be three numbers of millimeters above 0, or null, got {spacing}")
    if network.sampling == "slices" and spacing:
        raise InputError("network.spacing is for networks on patches; slices keep their scan's spacing: set it to null")
    if network.sampling == "patches" and not network.inferer.get("roi_size"):
        raise InputError("network.inferer.roi_size is required for network.sampling=patches: it is the patch size")


def _check_training(training: TrainingSettings) -> None:
    if (training.steps is None) == (training.epochs is None):
        raise InputError("training: set either steps or epochs, and the other to null")
    if training.batch_size % training.accumulate:
        raise InputError(
            f"training.accumulate must divide training.batch_size={training.batch_size}, got {training.accumulate}"
        )
    if (training.devices != "auto" and not str(training.devices).isdigit()) or str(training.devices) == "0":
        raise InputError(f"training.devices must be a whole number, 1 or more, or auto, got {training.devices!r}")
    for name in ("lr", "weight_decay"):
        value = training.optimizer.get(name)
        if value is None:
            raise InputError(f"training.optimizer.{name} is required")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InputError(f"training.optimizer.{name} must be a number, 0 or more, got {value!r}")
