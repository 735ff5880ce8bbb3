"""An upsampling step of a network, and the change that replaces its upsampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from medups.networks.guided_step import GuidedStep
from medups.upsamplers.layers import conv

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class WrappedStepError(Exception):
    """A step's convolution is inside a wrapper, such as a LoRA adapter, that hides its sizes."""

    def __init__(self, module: object) -> None:
        super().__init__(
            f"its convolution is wrapped in {type(module).__name__}; merge or remove the wrapper, swap, and wrap again"
        )


def unwrapped(module: Any) -> Any:
    """``module`` if it is a convolution, parametrized or not. Raises WrappedStepError for anything else."""
    if isinstance(module, (*TRANSPOSED, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return module
    raise WrappedStepError(module)


def set_class(module: nn.Module, guided: type[nn.Module]) -> None:
    """Give ``module`` the forward pass of ``guided``, which passes skips on to the steps.

    The class is assigned in place because the user holds a reference to ``module``, and because its parameters, hooks
    and position in the network must stay; a new module would lose all of these.
    """
    module.__class__ = guided


class Placement(NamedTuple):
    """The guided step, new modules besides the upsampler, and the function that installs all of them."""

    step: GuidedStep
    new: tuple[nn.Module, ...]
    install: Callable[[], None]


@dataclass(frozen=True)
class Site:
    """An upsampling step.

    Args:
        path: path of the current upsampling module.
        replaced: the module that will no longer be used.
        channels: channels of the map that is upsampled.
        guide_channels: None if there is no map to guide the step.
        place: function from the new upsampler to its placement.
        image_guide: the guide must be computed from the image, which is done only for upsamplers that need a guide.
        projected: the replaced module reads the map after the step's projection.
        no_start: why the new upsampler cannot start as the replaced module; empty if it can.
    """

    path: str
    replaced: nn.Module
    spatial_dims: int
    ratio: tuple[float, ...]
    channels: int
    guide_channels: int | None
    place: Callable[[nn.Module], Placement]
    image_guide: bool = False
    projected: bool = False
    no_start: str = ""

    @property
    def old(self) -> str:
        return describe(self.replaced)


def describe(module: nn.Module) -> str:
    """The kind of upsampling in ``module``, in words."""
    for part in module.modules():
        if isinstance(part, TRANSPOSED):
            return "transposed convolution"
        if isinstance(part, nn.Upsample):
            return f"{part.mode} interpolation"
        if isinstance(part, nn.PixelShuffle) or "Subpixel" in type(part).__name__:
            return "pixel shuffle"
    return type(module).__name__


def convs(module: nn.Module) -> list[Any]:
    """The convolutions of ``module`` in registration order; the last one sets the channels that a block returns."""
    return [part for part in module.modules() if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d)]


def projection(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """1x1 convolution, or the identity if the channels match."""
    return nn.Identity() if in_channels == out_channels else conv(spatial_dims, in_channels, out_channels)


def renames(module: nn.Module, names: Mapping[str, str]) -> nn.Module:
    """Let ``module`` load weights saved under old names of its submodules, given as prefixes."""
    module.register_load_state_dict_pre_hook(partial(_rename, names=dict(names)))
    return module


def _rename(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any, names: Mapping[str, str]) -> None:
    for old, new in names.items():
        for name in [name for name in state if name.startswith(prefix + old)]:
            state.setdefault(prefix + new + name.removeprefix(prefix + old), state.pop(name))
