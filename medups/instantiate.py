"""Build objects from plain configuration: every ``_target_`` must be in an allow-list, all else is plain values."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from medups.errors import InputError

_NETWORKS = (
    "AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "FlexibleUNet", "HighResNet", "MedNeXt",
    "SegResNet", "SegResNetDS", "SegResNetVAE", "SwinUNETR", "UNet", "UNETR", "VNet",
)  # fmt: skip

# Module prefixes that a target may have, each with the names allowed in it (None: any public class of the module).
ALLOWED: Mapping[str, tuple[str, ...] | None] = {
    "medups.networks": None,
    "medups.networks.pictures": None,
    "medups.inference": None,
    "medups.data.transforms": None,
    "medups.data.pictures.transforms": None,
    "medups.training.losses": None,
    "monai.networks.nets": _NETWORKS,
    "monai.losses": None,
    "torch.optim": None,
    "monai.transforms": (
        "Compose", "Identityd", "OneOf", "NormalizeIntensityd", "Rand2DElasticd", "Rand3DElasticd",
        "RandAdjustContrastd", "RandAffined", "RandFlipd", "RandGaussianNoised", "RandGaussianSmoothd",
        "RandRotate90d", "RandRotated", "RandScaleIntensityd", "RandShiftIntensityd", "RandZoomd",
        "ScaleIntensityRanged", "ScaleIntensityRangePercentilesd", "ScaleIntensityd", "ThresholdIntensityd",
    ),
}  # fmt: skip


def instantiate(spec: Mapping[str, Any], source: str = "config", **extra: Any) -> Any:
    """Build the object that ``spec`` describes: ``_target_`` and its keyword arguments, nested objects first.

    Raises:
        InputError: a target outside the allow-list, a value that is an expression, or arguments that the
            target rejects.
    """
    arguments = {key: _value(value, source) for key, value in spec.items() if key != "_target_"}
    target = _resolve(spec, source)
    try:
        return target(**arguments, **extra)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError, AssertionError) as error:
        raise InputError(f"{source}: {spec['_target_']} rejected its arguments: {error}") from error
    except ImportError as error:
        raise InputError(f"{source}: {spec['_target_']} cannot be used here: {error}") from error


def _value(value: Any, source: str) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return instantiate(value, source)
        return {key: _value(item, source) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, source) for item in value]
    if isinstance(value, str) and value[:1] in ("$", "@", "%"):
        raise InputError(f"{source}: {value!r} is an expression; only plain values are allowed here")
    return value


def _resolve(spec: Mapping[str, Any], source: str) -> Any:
    name = spec.get("_target_")
    if not isinstance(name, str):
        raise InputError(f"{source}: expected a _target_, found the keys {sorted(map(str, spec))}")
    module, _, attribute = name.rpartition(".")
    allowed = ALLOWED.get(module, ())
    target = None
    if allowed is None or attribute in allowed:
        target = getattr(importlib.import_module(module), attribute, None)
    is_network_function = module == "medups.networks" and isinstance(target, FunctionType)
    if not (isinstance(target, type) or is_network_function) or attribute.startswith("_"):
        raise InputError(f"{source}: _target_ {name!r} is not allowed; classes may come from {', '.join(ALLOWED)}")
    return target
