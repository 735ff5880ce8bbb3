"""A trained model as one MONAI bundle folder: definition, reading and writing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from medups.bundle.model import Model, load_bundle, write_bundle

__all__ = ["Model", "load_bundle", "write_bundle"]


def __getattr__(name: str) -> Any:
    """Resolve ``Predictor``, the target that bundles written before version 0.2 refer to."""
    if name == "Predictor":
        return import_module("medups.workflows.monai_run").Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
