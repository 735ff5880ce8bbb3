"""Blocks that hold both the deep map and its skip, and transposed convolutions on their own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from monai.networks.blocks.dynunet_block import UnetUpBlock
from monai.networks.blocks.unetr_block import UnetrUpBlock
from monai.networks.nets.attentionunet import AttentionLayer
from monai.networks.nets.basic_unet import BasicUNet, UpCat
from monai.networks.nets.flexible_unet import UNetDecoder
from torch import Tensor, nn

from medups.networks.guided_step import GuidedStep, ProjectedGuide
from medups.networks.swap.report import Kept
from medups.networks.swap.site import TRANSPOSED, Placement, Site, convs, describe, projection, renames
from medups.upsamplers.base import Upsampler

_CHAINS = (BasicUNet, UNetDecoder)  # each of their UpCats gets what the one before it made


class NestedStep(nn.Module):
    """A step whose deep map its own submodule makes of the skip: ``step(submodule(x), x)``."""

    def __init__(self, submodule: nn.Module, step: GuidedStep) -> None:
        super().__init__()
        self.submodule = submodule
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.step(self.submodule(x), x)
        return out


class AttentionJoin(nn.Module):
    """The skip weighted by attention, then the upsampled map."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return torch.cat([self.attention(g=x, x=guide), x], 1)


def find_blocks(net: nn.Module) -> Iterator[Site | Kept]:
    """Every known block below ``net``, those of an earlier swap and of this library's own networks too."""
    chains = ([part for part in net.modules() if type(part) is UpCat] for net in net.modules() if type(net) in _CHAINS)
    before = {block: convs(former)[-1].out_channels for chain in chains for former, block in pairwise(chain)}
    for path, module in net.named_modules():
        if isinstance(module, GuidedStep):
            yield from own_step(path, module)
        elif module is net and type(module) in (UpCat, UnetUpBlock, UnetrUpBlock, AttentionLayer):
            yield Kept("the network", describe(module), "it is the block itself; give the network it is part of")
        elif type(module) is UpCat:
            yield _upcat(net, path, module, before.get(module))
        elif type(module) in (UnetUpBlock, UnetrUpBlock):
            yield _transposed_and_skip(net, path, module)
        elif type(module) is AttentionLayer:
            yield _attention(net, path, module)


def find_transposed(net: nn.Module) -> Iterator[Site | Kept]:
    """Transposed convolutions that enlarge by a whole ratio; for upsamplers that need no guide."""
    for path, module in net.named_modules():
        if isinstance(module, TRANSPOSED) and max(module.stride) > 1 and module is not net:
            yield _alone(net, path, module)


def _upcat(net: nn.Module, path: str, block: Any, before: int | None) -> Site | Kept:
    """``before``: channels that the block gets, for interpolation that does not tell."""
    first = convs(block.convs)[0]
    dims = len(first.kernel_size)
    parts: dict[str, Any] = dict(block.upsample.named_children())
    if "deconv" in parts:
        old, gone = "deconv", parts["deconv"]
        channels, ratio, own = gone.out_channels, gone.stride, None
    elif "upsample_non_trainable" in parts:
        old, own = "upsample_non_trainable", parts.get("preconv", nn.Identity())
        gone, before_it = parts[old], convs(own)
        channels, ratio = before_it[-1].out_channels if before_it else before, gone.scale_factor
    else:
        return Kept(f"{path}.upsample", "pixel shuffle", "its convolution makes the enlarged map by itself")
    if channels is None:
        return Kept(f"{path}.upsample", "interpolation", "the channels of its map cannot be told")
    skip = first.in_channels - channels

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, gone.in_channels, channels) if own is None else own
        step = GuidedStep(upsampler, block.convs, project=project, join="guide_first")
        renames(step, {"convs.": "fuse.", "upsample.preconv.": "project."})
        return Placement((project,) if own is None else (), partial(_put, net, block, step))

    return Site(f"{path}.upsample.{old}", gone, dims, tuple(ratio), channels, skip or None, place)


def _transposed_and_skip(net: nn.Module, path: str, block: Any) -> Site | Kept:
    old = block.transp_conv.conv
    dims, channels = len(old.kernel_size), old.out_channels

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, old.in_channels, channels)
        step = GuidedStep(upsampler, block.conv_block, project=project)
        renames(step, {"conv_block.": "fuse."})
        return Placement((project,), partial(_put, net, block, step))

    return Site(f"{path}.transp_conv", block.transp_conv, dims, tuple(old.stride), channels, channels, place)


def _attention(net: nn.Module, path: str, block: Any) -> Site | Kept:
    up = block.upconv.up
    dims, channels = len(up.conv.kernel_size), up.conv.out_channels

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, up.conv.in_channels, channels)
        join = AttentionJoin(block.attention)
        step = NestedStep(block.submodule, GuidedStep(upsampler, block.merge, project=project, norm=up.adn, join=join))
        renames(
            step,
            {"attention.": "step.join.attention.", "merge.": "step.fuse.", "upconv.up.adn.": "step.norm."},
        )
        return Placement((project,), partial(_put, net, block, step))

    return Site(f"{path}.upconv.up.conv", up.conv, dims, tuple(up.conv.stride), channels, channels, place)


def own_step(path: str, step: GuidedStep) -> Iterator[Site]:
    """The upsampler of a guided step at ``path``, where it is one of the library's."""
    old = step.upsampler.upsampler if isinstance(step.upsampler, ProjectedGuide) else step.upsampler
    if not isinstance(old, Upsampler):
        return

    def place(upsampler: nn.Module) -> Placement:
        return Placement((), partial(setattr, step, "upsampler", upsampler))

    guide = old.guide_channels
    if isinstance(step.upsampler, ProjectedGuide):
        guide = step.upsampler.project.in_channels
    path = f"{path}.upsampler".lstrip(".")
    yield Site(path, step.upsampler, old.spatial_dims, tuple(old.scale_factor), old.in_channels, guide, place)


def _alone(net: nn.Module, path: str, module: Any) -> Site | Kept:
    grown = zip(module.kernel_size, module.stride, module.padding, module.output_padding, module.dilation, strict=True)
    if any(d * (k - 1) + 1 - s - 2 * p + o for k, s, p, o, d in grown):
        return Kept(path, "transposed convolution", "it does not enlarge by a whole ratio")
    dims = len(module.kernel_size)

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, module.in_channels, module.out_channels)
        return Placement((project,), partial(_put, net, module, GuidedStep(upsampler, project=project)))

    return Site(path, module, dims, tuple(module.stride), module.out_channels, None, place)


def _put(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Wherever ``old`` stands: DynUNet lists its blocks once more than it runs them."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
