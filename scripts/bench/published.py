"""Published modules from a checkout of their own code, as rivals of ours with the same weights.

Nothing of that code is here; the user says where it lies. What cannot be imported on this machine is reported
and left out.
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

_AGREE = 1e-3  # of the greatest value, in float32


@dataclass(frozen=True)
class Published:
    """Where a published class lies, how it is made and called, and which options make ours the same."""

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
    """Name, the published module, and ours with its weights, for all that is found below ``folder``.

    Raises:
        ValueError: outputs that do not agree.
    """
    for published in _PUBLISHED:
        for path in sorted(folder.rglob(published.file), key=lambda path: len(path.parts))[:1]:
            torch.manual_seed(0)
            try:
                theirs = published.make(_import(path), channels, ratio).to(x.device, x.dtype)
                rival = Rival(theirs, published.call)
                with torch.no_grad():
                    found = rival(x, guide)
            except Exception as error:  # whatever code of others raises here only means that it is left out
                print(f"{path} is left out: {type(error).__name__}: {error}")
                continue
            ours = create_upsampler(
                published.method,
                spatial_dims=2,
                in_channels=channels,
                guide_channels=channels,
                scale_factor=ratio,
                **published.options,
            ).to(x.device, x.dtype)
            load_published(ours, theirs.state_dict(), layout=published.method)
            with torch.no_grad():
                expected = ours(x, guide)
            for one, other in zip(found, expected, strict=True):
                apart = float((one - other).abs().max() / other.abs().max())
                if apart > _AGREE:
                    raise ValueError(f"{path}: outputs differ from ours by {apart:.1e} of the greatest value")
            yield published.method, rival, ours


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"published_{path.stem.lower()}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
