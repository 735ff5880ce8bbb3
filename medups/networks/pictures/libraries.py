"""Libraries that only some networks need."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

import torch

from medups.networks.pictures.region_operators import nms, roi_align

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
    """Let a torchvision that was built for another torch be imported, and its detectors run.

    Such a build has no compiled operators, and fails when it is imported, also by transformers and timm.
    """
    if _OPERATORS:
        return
    with suppress(ModuleNotFoundError):
        try:
            import_module("torchvision")
        except RuntimeError:
            _OPERATORS.append(torch.library.Library("torchvision", "DEF"))
            for name in ("nms", "qnms"):
                _OPERATORS[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            import_module("torchvision")
        if not import_module("torchvision.extension")._has_ops():
            _implement_operators()


def _present() -> bool:
    return True


def _implement_operators() -> None:
    operators = torch.library.Library("torchvision", "FRAGMENT")
    _OPERATORS.append(operators)
    operators.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    )
    operators.impl("nms", nms, "CompositeExplicitAutograd")
    operators.impl("roi_align", roi_align, "CompositeImplicitAutograd")
    for module in ("torchvision.extension", "torchvision.ops.roi_align"):
        import_module(module)._has_ops = _present  # type: ignore[attr-defined]  # a private function
