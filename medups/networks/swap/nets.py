"""Networks whose blocks do not see the skip: they are given a forward pass that takes it along."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from monai.networks.layers.simplelayers import SkipConnection
from monai.networks.nets.mednext import MedNeXt
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from medups.networks.guided_step import IMAGE_GUIDE_CHANNELS, GuidedStep, reads_guide
from medups.networks.swap.blocks import own_step
from medups.networks.swap.report import Kept
from medups.networks.swap.site import Placement, Site, convs, describe, projection, renames
from medups.upsamplers import Upsampled, create_upsampler
from medups.upsamplers.parts import conv

_INSTANCE_NORMS = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def find_nets(net: nn.Module) -> Iterator[Site | Kept]:
    """Steps of every known network in ``net``, itself included."""
    for path, module in net.named_modules():
        prefix = f"{path}." if path else ""
        if isinstance(module, UNet):
            yield from _unet(module.model, f"{prefix}model")
        elif type(module) in (SegResNet, GuidedSegResNet):
            yield from _segresnet(module, prefix)
        elif type(module) in (MedNeXt, GuidedMedNeXt):
            yield from _mednext(module, prefix)
        elif type(module).__name__ == "FeaturePyramidNetwork" and hasattr(module, "inner_blocks"):
            yield from _fpn(module, prefix)


def _guided(step: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
    """A decoder step that adds its skip, whether it was swapped or not."""
    out: Tensor = step(x, skip) if isinstance(step, GuidedStep) else step(x) + skip
    return out


# MONAI's UNet: nested levels (down, skip around what is below, up). What a level gets is the skip one level out.


class UNetLevel(nn.Sequential):
    """Down, what is below, and a step up to the level's own input, which is the guide."""

    def forward(self, x: Tensor) -> Tensor:
        return self.refined(x).x

    def refined(self, x: Tensor) -> Upsampled:
        """The output, and the input as the upsampler refined it."""
        down, below, step = cast(Any, self)
        out: Upsampled = step.refined(below(down(x)), x)
        return out


class RefinedSkip(SkipConnection):
    """Concatenates what a level made of its input with the input as it was refined."""

    def forward(self, x: Tensor) -> Tensor:
        up = self.submodule.refined(x)
        return torch.cat([up.guide, up.x], self.dim)


class ImageStep(nn.Module):
    """The step of the outermost level: its guide is made of the image."""

    def __init__(self, stem: nn.Module, step: GuidedStep) -> None:
        super().__init__()
        self.stem = stem
        self.step = step

    def refined(self, x: Tensor, image: Tensor) -> Upsampled:
        return Upsampled(self.step(x, self.stem(image)), image)


def _unet(level: nn.Module, path: str, skip: SkipConnection | None = None) -> Iterator[Site | Kept]:
    """``skip``: the connection around ``level``, None for the outermost one. Levels that were swapped before are passed
    through; their own steps are found as guided steps, but for the outermost, whose guide comes and goes."""
    if isinstance(level, UNetLevel):
        if isinstance(level[2], ImageStep):
            yield from _image_step(level[2], f"{path}.2.step", convs(level[0])[0].in_channels)
        yield from _unet(cast(Any, level[1]).submodule, f"{path}.1.submodule", cast(SkipConnection, level[1]))
        return
    if not (type(level) is nn.Sequential and len(level) == 3 and isinstance(level[1], SkipConnection)):
        for name, module in level.named_modules():
            if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
                yield Kept(f"{path}.{name}", describe(module), "the level around it has no form that is known")
        return
    down, inner, up = cast(Any, level)
    with_unit = isinstance(up[0], nn.Sequential)  # a residual unit behind the convolution
    block, rest = (up[0], up[1]) if with_unit else (up, None)
    old = block.conv
    place_path = f"{path}.2.0.conv" if with_unit else f"{path}.2.conv"
    ratio = tuple(float(s) for s in old.stride)
    dims = len(ratio)
    if max(ratio) == 1:
        yield Kept(place_path, describe(old), "it does not enlarge")
    else:
        input_channels = convs(down)[0].in_channels
        # the outermost step is made of the level's own width, not of classes
        channels = old.out_channels if skip is not None else convs(down)[-1].out_channels
        guide = input_channels if skip is not None else IMAGE_GUIDE_CHANNELS
        place = partial(_place_in_unet, level, old, getattr(block, "adn", None), rest, input_channels, skip)
        yield Site(place_path, old, dims, ratio, channels, guide, place, image_guide=skip is None)
    yield from _unet(inner.submodule, f"{path}.1.submodule", inner)


def _place_in_unet(
    level: nn.Sequential,
    old: nn.Module,
    adn: nn.Module | None,
    rest: nn.Module | None,
    image_channels: int,
    skip: SkipConnection | None,
    upsampler: nn.Module,
) -> Placement:
    assert isinstance(old, nn.ConvTranspose2d | nn.ConvTranspose3d)
    dims = len(old.stride)
    own = {"0.adn.": "norm.", "1.": "fuse."} if rest is not None else {"adn.": "norm."}
    step: nn.Module
    if skip is not None:
        project = projection(dims, old.in_channels, old.out_channels)
        step = renames(GuidedStep(upsampler, rest, project=project, norm=adn, join="none"), own)
        new: tuple[nn.Module, ...] = (project,)
    else:
        width = convs(level[0])[-1].out_channels
        project = projection(dims, old.in_channels, width)
        stem = _stem(upsampler, dims, image_channels)
        classes = conv(dims, width, old.out_channels, 3)
        norm = nn.Sequential(classes, *([] if adn is None else [adn]))
        step = ImageStep(stem, GuidedStep(upsampler, rest, project=project, norm=norm, join="none"))
        renames(step, {name: f"step.{to.replace('norm.', 'norm.1.')}" for name, to in own.items()})
        new = (project, stem, classes)

    def put() -> None:
        level[2] = step
        level.__class__ = UNetLevel
        if skip is not None:
            skip.__class__ = RefinedSkip

    return Placement(new, put)


def _image_step(old: ImageStep, path: str, image_channels: int) -> Iterator[Site]:
    """The outermost step, swapped before: what makes its guide of the image comes and goes with the need for it."""
    for site in own_step(path, old.step):

        def place(upsampler: nn.Module, site: Site = site) -> Placement:
            placed = site.place(upsampler)
            if reads_guide(upsampler) != isinstance(old.stem, nn.Identity):
                return placed
            stem = _stem(upsampler, site.spatial_dims, image_channels)

            def put() -> None:
                old.stem = stem
                placed.put()

            return Placement((stem,), put)

        yield replace(site, guide_channels=IMAGE_GUIDE_CHANNELS, place=place, image_guide=True)


def _stem(upsampler: nn.Module, spatial_dims: int, image_channels: int) -> nn.Module:
    return _image_stem(spatial_dims, image_channels) if reads_guide(upsampler) else nn.Identity()


def _image_stem(spatial_dims: int, image_channels: int) -> nn.Sequential:
    convolution = conv(spatial_dims, image_channels, IMAGE_GUIDE_CHANNELS, 3, bias=False)
    return nn.Sequential(convolution, _INSTANCE_NORMS[spatial_dims](IMAGE_GUIDE_CHANNELS, affine=True), nn.ReLU())


# SegResNet: steps and blocks in two lists, skips added between.


class GuidedSegResNet(SegResNet):
    """SegResNet after a swap: each step sees the skip that is added behind it."""

    def decode(self, x: Tensor, down_x: list[Tensor]) -> Tensor:
        for step, blocks, skip in zip(self.up_samples, self.up_layers, down_x[1:], strict=False):
            x = blocks(_guided(step, x, skip))
        return self.conv_final(x) if self.use_conv_final else x


def _segresnet(net: Any, prefix: str) -> Iterator[Site]:
    steps = net.up_samples
    for number, old in enumerate(steps):
        if isinstance(old, GuidedStep):
            continue
        last = convs(old[0])[-1]

        def place(upsampler: nn.Module, number: int = number, old: nn.Sequential = old) -> Placement:
            step = renames(GuidedStep(upsampler, project=old[0], join="add"), {"0.": "project."})

            def put() -> None:
                steps[number] = step
                net.__class__ = GuidedSegResNet

            return Placement((), put)

        dims = len(last.kernel_size)
        channels = last.out_channels
        yield Site(f"{prefix}up_samples.{number}.1", old[1], dims, (2.0,) * dims, channels, channels, place)


# MedNeXt: up blocks, skips added, then stages.


class GuidedMedNeXt(MedNeXt):
    """MedNeXt after a swap: each step sees the skip that is added behind it."""

    def forward(self, x: Tensor) -> Tensor | Sequence[Tensor]:
        x = self.stem(x)
        skips, before = [], []
        for stage, down in zip(self.enc_stages, self.down_blocks, strict=True):
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.bottleneck(x)
        for step, stage in zip(self.up_blocks, self.dec_stages, strict=True):
            before.append(x)
            x = stage(_guided(step, x, skips.pop()))
        logits: Tensor = self.out_0(x)
        if not (self.do_ds and self.training):
            return logits
        deep = [head(x) for head, x in zip(self.out_blocks, before, strict=True)]
        return (logits, *reversed(deep))


def _mednext(net: Any, prefix: str) -> Iterator[Site]:
    steps = net.up_blocks
    for number, old in enumerate(steps):
        if isinstance(old, GuidedStep):
            continue
        transposed = next(part for part in old.modules() if isinstance(part, nn.ConvTranspose2d | nn.ConvTranspose3d))
        dims, into, out = len(transposed.stride), transposed.in_channels, convs(old)[-1].out_channels

        def place(
            upsampler: nn.Module, number: int = number, dims: int = dims, into: int = into, out: int = out
        ) -> Placement:
            project = projection(dims, into, out)

            def put() -> None:
                steps[number] = GuidedStep(upsampler, project=project, join="add")
                net.__class__ = GuidedMedNeXt

            return Placement((project,), put)

        yield Site(f"{prefix}up_blocks.{number}", old, dims, (2.0,) * dims, out, out, place)


# Feature pyramids of MONAI and torchvision, which have the same parts.


class GuidedFPN(nn.Module):
    """A feature pyramid after a swap: lateral maps guide the way down, the sum takes the refined one."""

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        own = cast(Any, self)
        names, maps = list(x), list(x.values())
        inner = own.inner_blocks[-1](maps[-1])
        results = [own.layer_blocks[-1](inner)]
        for number in reversed(range(len(maps) - 1)):
            inner = own.steps[number](inner, own.inner_blocks[number](maps[number]))
            results.insert(0, own.layer_blocks[number](inner))
        if own.extra_blocks is not None:
            results, names = own.extra_blocks(results, maps, names)
        return OrderedDict(zip(names, results, strict=True))


def _fpn(net: Any, prefix: str) -> Iterator[Site]:
    layers = net.layer_blocks
    for number in range(len(layers) - 1):
        out = convs(layers[number])[-1]
        dims, channels = len(out.kernel_size), out.in_channels

        def place(upsampler: nn.Module, number: int = number, dims: int = dims, channels: int = channels) -> Placement:
            def put() -> None:
                if not isinstance(net, GuidedFPN):
                    net.__class__ = GuidedFPN
                    sizes = {"spatial_dims": dims, "in_channels": channels, "guide_channels": channels}
                    nearest = partial(create_upsampler, "nearest", **sizes)
                    net.steps = nn.ModuleList(GuidedStep(nearest(), join="add") for _ in range(len(layers) - 1))
                net.steps[number] = GuidedStep(upsampler, join="add")

            return Placement((), put)

        nearest = nn.Upsample(scale_factor=2.0)  # what it does in its forward pass
        yield Site(f"{prefix}steps.{number}", nearest, dims, (2.0,) * dims, channels, channels, place)
