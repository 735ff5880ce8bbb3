"""Networks whose blocks do not receive the skip; a new forward pass provides it."""

from __future__ import annotations

from collections.abc import Iterator

from monai.networks.nets.mednext import MedNeXt
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet
from torch import nn

from medups.networks.swap.added_skips import GuidedMedNeXt, GuidedSegResNet, find_mednext, find_segresnet
from medups.networks.swap.interpolating import find_interpolation
from medups.networks.swap.pyramids import find_pyramid
from medups.networks.swap.report import Kept
from medups.networks.swap.site import Site, WrappedStepError, describe
from medups.networks.swap.unets import find_unet


def find_nets(net: nn.Module) -> Iterator[Site | Kept]:
    """Steps of every known network in ``net``, including ``net`` itself."""
    for path, module in net.named_modules():
        try:
            yield from _find(module, f"{path}." if path else "")
        except WrappedStepError as error:
            yield Kept(path or "the network", describe(module), str(error))


def _find(module: nn.Module, prefix: str) -> Iterator[Site | Kept]:
    if isinstance(module, UNet):
        yield from find_unet(module.model, f"{prefix}model")
    elif type(module) in (SegResNet, GuidedSegResNet):
        yield from find_segresnet(module, prefix)
    elif type(module) in (MedNeXt, GuidedMedNeXt):
        yield from find_mednext(module, prefix)
    elif type(module).__name__ == "FeaturePyramidNetwork" and hasattr(module, "inner_blocks"):
        yield from find_pyramid(module, prefix)
    else:
        yield from find_interpolation(module, prefix)
