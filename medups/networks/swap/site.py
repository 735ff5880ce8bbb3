"""A place in a network where an upsampler can go, and what putting it there takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from medups.upsamplers.parts import conv

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Placement(NamedTuple):
    """Modules with parameters of their own beside the upsampler, and the deed."""

    new: tuple[nn.Module, ...]
    put: Callable[[], None]


@dataclass(frozen=True)
class Site:
    """An upsampling step.

    Args:
        path: of what upsamples now.
        gone: what will no longer be used.
        channels: of the map as it is upsampled.
        guide_channels: None where there is no map to be guided by.
        place: from the upsampler to how it is put there.
        image_guide: the guide has to be made of the image, which is done only for upsamplers that need one.
    """

    path: str
    gone: nn.Module
    spatial_dims: int
    ratio: tuple[float, ...]
    channels: int
    guide_channels: int | None
    place: Callable[[nn.Module], Placement]
    image_guide: bool = False

    @property
    def old(self) -> str:
        return describe(self.gone)


def describe(module: nn.Module) -> str:
    """What upsamples in ``module``, in words."""
    for part in module.modules():
        if isinstance(part, TRANSPOSED):
            return "transposed convolution"
        if isinstance(part, nn.Upsample):
            return f"{part.mode} interpolation"
        if isinstance(part, nn.PixelShuffle) or "Subpixel" in type(part).__name__:
            return "pixel shuffle"
    return type(module).__name__


def convs(module: nn.Module) -> list[Any]:
    """Its convolutions in the order they were registered: the last one makes the channels that a block hands on."""
    return [part for part in module.modules() if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d)]


def projection(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """1x1 convolution, or nothing where the channels agree."""
    return nn.Identity() if in_channels == out_channels else conv(spatial_dims, in_channels, out_channels)


def renames(module: nn.Module, names: Mapping[str, str]) -> nn.Module:
    """Have ``module`` load weights that were saved under the old names of its parts, given as prefixes."""
    module.register_load_state_dict_pre_hook(partial(_rename, names=dict(names)))
    return module


def _rename(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any, names: Mapping[str, str]) -> None:
    for old, new in names.items():
        for name in [name for name in state if name.startswith(prefix + old)]:
            state.setdefault(prefix + new + name.removeprefix(prefix + old), state.pop(name))
