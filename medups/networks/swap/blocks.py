"""Blocks that receive both the deep map and its skip, and single transposed convolutions."""

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
from medups.networks.swap.site import (
    TRANSPOSED,
    Placement,
    Site,
    WrappedStepError,
    convs,
    describe,
    projection,
    renames,
    unwrapped,
)
from medups.upsamplers.base import Upsampler

_CHAINS = (BasicUNet, UNetDecoder)  # each UpCat in these reads the output of the previous one


class NestedStep(nn.Module):
    """A step whose own submodule computes the deep map from the skip: ``step(submodule(x), x)``."""

    def __init__(self, submodule: nn.Module, step: GuidedStep) -> None:
        super().__init__()
        self.submodule = submodule
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.step(self.submodule(x), x)
        return out


class AttentionJoin(nn.Module):
    """Concatenates the skip, weighted by attention, and the upsampled map."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return torch.cat([self.attention(g=x, x=guide), x], 1)


def find_blocks(net: nn.Module) -> Iterator[Site | Kept]:
    """Every known block below ``net``, including those of an earlier swap and of this library's networks."""
    chains = (
        [part for part in owner.modules() if type(part) is UpCat] for owner in net.modules() if type(owner) in _CHAINS
    )
    widths = {block: convs(previous)[-1].out_channels for chain in chains for previous, block in pairwise(chain)}
    for path, module in net.named_modules():
        if isinstance(module, GuidedStep):
            yield from guided_step(path, module)
        elif module is net and type(module) in (UpCat, UnetUpBlock, UnetrUpBlock, AttentionLayer):
            yield Kept("the network", describe(module), "it is the block itself; pass the network that contains it")
        elif type(module) in _FINDERS:
            try:
                yield _FINDERS[type(module)](net, path, module, widths.get(module))
            except WrappedStepError as error:
                yield Kept(path, describe(module), str(error))


def find_transposed(net: nn.Module) -> Iterator[Site | Kept]:
    """Transposed convolutions that enlarge by a whole ratio, for upsamplers that need no guide."""
    for path, module in net.named_modules():
        if isinstance(module, TRANSPOSED) and max(module.stride) > 1 and module is not net:
            yield _single(net, path, module)


def _upcat(net: nn.Module, path: str, block: Any, width: int | None) -> Site | Kept:
    """The step of an UpCat; ``width`` is its number of input channels, which interpolation layers do not store."""
    first = convs(block.convs)[0]
    dims = len(first.kernel_size)
    layers: dict[str, Any] = dict(block.upsample.named_children())
    if "deconv" in layers:
        name, replaced = "deconv", unwrapped(layers["deconv"])
        channels, ratio, preconv = replaced.out_channels, replaced.stride, None
    elif "upsample_non_trainable" in layers:
        name, preconv = "upsample_non_trainable", layers.get("preconv", nn.Identity())
        replaced, preconvs = layers[name], convs(preconv)
        channels, ratio = preconvs[-1].out_channels if preconvs else width, replaced.scale_factor
    else:
        return Kept(f"{path}.upsample", "pixel shuffle", "its convolution computes the enlarged map itself")
    if channels is None:
        return Kept(f"{path}.upsample", "interpolation", "the number of channels of its map is unknown")
    skip = first.in_channels - channels

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, replaced.in_channels, channels) if preconv is None else preconv
        step = GuidedStep(upsampler, block.convs, project=project, join="guide_first")
        renames(step, {"convs.": "fuse.", "upsample.preconv.": "project."})
        return Placement(step, (project,) if preconv is None else (), partial(_replace, net, block, step))

    path, guide = f"{path}.upsample.{name}", skip or None
    return Site(path, replaced, dims, tuple(ratio), channels, guide, place, projected=preconv is not None)


def _transposed_and_skip(net: nn.Module, path: str, block: Any, _: int | None) -> Site | Kept:
    old = unwrapped(block.transp_conv.conv)
    dims, channels = len(old.kernel_size), old.out_channels

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, old.in_channels, channels)
        step = GuidedStep(upsampler, block.conv_block, project=project)
        renames(step, {"conv_block.": "fuse."})
        return Placement(step, (project,), partial(_replace, net, block, step))

    return Site(f"{path}.transp_conv", block.transp_conv, dims, tuple(old.stride), channels, channels, place)


def _attention(net: nn.Module, path: str, block: Any, _: int | None) -> Site | Kept:
    up = block.upconv.up
    conv = unwrapped(up.conv)
    dims, channels = len(conv.kernel_size), conv.out_channels

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, conv.in_channels, channels)
        join = AttentionJoin(block.attention)
        guided = GuidedStep(upsampler, block.merge, project=project, norm=up.adn, join=join)
        step = NestedStep(block.submodule, guided)
        renames(
            step,
            {"attention.": "step.join.attention.", "merge.": "step.fuse.", "upconv.up.adn.": "step.norm."},
        )
        return Placement(guided, (project,), partial(_replace, net, block, step))

    return Site(f"{path}.upconv.up.conv", conv, dims, tuple(conv.stride), channels, channels, place)


_FINDERS = {
    UpCat: _upcat,
    UnetUpBlock: _transposed_and_skip,
    UnetrUpBlock: _transposed_and_skip,
    AttentionLayer: _attention,
}


def guided_step(path: str, step: GuidedStep) -> Iterator[Site]:
    """The upsampler of a guided step at ``path``, if it is one of the library's."""
    old = step.upsampler.upsampler if isinstance(step.upsampler, ProjectedGuide) else step.upsampler
    if not isinstance(old, Upsampler):
        return

    def place(upsampler: nn.Module) -> Placement:
        def install() -> None:
            step.upsampler, step.start = upsampler, None

        return Placement(step, (), install)

    guide = old.guide_channels
    if isinstance(step.upsampler, ProjectedGuide):
        guide = step.upsampler.project.in_channels
    path = f"{path}.upsampler".lstrip(".")
    no_start = "" if step.start is None else "it has a start from an earlier swap"
    sizes = old.spatial_dims, tuple(old.scale_factor), old.in_channels, guide
    yield Site(path, step.upsampler, *sizes, place, projected=True, no_start=no_start)


def _single(net: nn.Module, path: str, module: Any) -> Site | Kept:
    sizes = zip(module.kernel_size, module.stride, module.padding, module.output_padding, module.dilation, strict=True)
    if any(d * (k - 1) + 1 - s - 2 * p + o for k, s, p, o, d in sizes):
        return Kept(path, "transposed convolution", "it does not enlarge by a whole ratio")
    dims = len(module.kernel_size)

    def place(upsampler: nn.Module) -> Placement:
        project = projection(dims, module.in_channels, module.out_channels)
        step = GuidedStep(upsampler, project=project)
        return Placement(step, (project,), partial(_replace, net, module, step))

    return Site(path, module, dims, tuple(module.stride), module.out_channels, None, place)


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace ``old`` everywhere it is registered: DynUNet registers its blocks twice."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
