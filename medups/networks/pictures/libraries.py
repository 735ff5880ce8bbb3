"""Libraries that only some networks need."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

import torch

_OPERATORS: list[torch.library.Library] = []  # a library's operators exist as long as the object


def library(name: str) -> Any:
    """The library ``name``.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    _declare_operators()
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise ImportError(f"the package {name} is missing; install it with pip install 'medups[natural]'") from error


def _declare_operators() -> None:
    """Let transformers and timm import a torchvision that was built for another torch.

    Such a build has no compiled operators, and fails when it is imported; both libraries need only its transforms.
    """
    if _OPERATORS:
        return
    with suppress(ModuleNotFoundError):
        try:
            import_module("torchvision")
        except RuntimeError:
            declared = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _OPERATORS.append(declared)
