"""Published modules from a checkout of their own code, compared with ours on the same weights.

This project contains none of that code; the user passes its folder. Modules that cannot be imported on this machine are
reported and skipped.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from medups.upsamplers import Upsampled, create_upsampler
from medups.weights import load_published

_TOLERANCE = 1e-3  # relative to the maximum, in float32


@dataclass(frozen=True)
class Published:
    """File of a published class, how to build and call it, and the options that make ours equivalent."""

    method: str
    file: str
    make: Callable[[ModuleType, int, int], nn.Module]
    call: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
    options: dict[str, Any] = field(default_factory=dict)


_PUBLISHED = (
    Published(
        "freqfusion",
        "FreqFusion.py",
        lambda code, channels, ratio: code.FreqFusion(channels, channels, feature_resample=True),
        lambda module, x, guide: module(guide, x)[:0:-1],
        {"border": "reflect", "hamming_window": True},
    ),
    Published(
        "dysample",
        "dysample.py",
        lambda code, channels, ratio: code.DySample(channels, scale=ratio),
        lambda module, x, guide: (module(x), guide),
    ),
)


class Rival(nn.Module):
    """A published module with the interface of ours."""

    def __init__(self, module: nn.Module, call: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.module, self.call = module, call

    def forward(self, x: Tensor, guide: Tensor) -> Upsampled:
        return Upsampled(*self.call(self.module, x, guide))


def rivals(folder: Path, channels: int, ratio: int, x: Tensor, guide: Tensor) -> Iterator[tuple[str, Rival, nn.Module]]:
    """Name, published module, and ours with its weights, for every published file below ``folder``.

    Raises:
        ValueError: If the outputs differ.
    """
    for published in _PUBLISHED:
        for path in sorted(folder.rglob(published.file), key=lambda path: len(path.parts))[:1]:
            torch.manual_seed(0)
            try:
                module = published.make(_import(path), channels, ratio).to(x.device, x.dtype)
                rival = Rival(module, published.call)
                with torch.no_grad():
                    result = rival(x, guide)
            except Exception as error:  # any error in third-party code only skips the module
                print(f"skipped {path}: {type(error).__name__}: {error}")
                continue
            ours = create_upsampler(
                published.method,
                spatial_dims=2,
                in_channels=channels,
                guide_channels=channels,
                scale_factor=ratio,
                **published.options,
            ).to(x.device, x.dtype)
            load_published(ours, module.state_dict(), layout=published.method)
            with torch.no_grad():
                expected = ours(x, guide)
            for output, reference in zip(result, expected, strict=True):
                difference = float((output - reference).abs().max() / reference.abs().max())
                if difference > _TOLERANCE:
                    raise ValueError(f"{path}: outputs differ from ours by {difference:.1e} of the maximum")
            yield published.method, rival, ours


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"published_{path.stem.lower()}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
