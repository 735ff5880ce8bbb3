"""MONAI's UNet: nested levels (down, skip around the inner levels, up). A level's input is the outer level's skip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from monai.networks.layers.simplelayers import SkipConnection
from torch import Tensor, nn

from medups.networks.guided_step import IMAGE_GUIDE_CHANNELS, GuidedStep, image_stem, reads_guide
from medups.networks.swap.blocks import guided_step
from medups.networks.swap.report import Kept
from medups.networks.swap.site import Placement, Site, convs, describe, projection, renames, set_class, unwrapped
from medups.upsamplers import Upsampled
from medups.upsamplers.layers import conv


class UNetLevel(nn.Sequential):
    """Downsampling, the inner levels, and an upsampling step guided by the level's input."""

    def forward(self, x: Tensor) -> Tensor:
        return self.refined(x).x

    def refined(self, x: Tensor) -> Upsampled:
        """The output, and the input refined by the upsampler."""
        down, inner, step = cast(Any, self)
        out: Upsampled = step.refined(inner(down(x)), x)
        return out


class RefinedSkip(SkipConnection):
    """Concatenates a level's output with its refined input."""

    def forward(self, x: Tensor) -> Tensor:
        up = self.submodule.refined(x)
        return torch.cat([up.guide, up.x], self.dim)


class ImageStep(nn.Module):
    """The step of the outermost level, guided by a convolution of the image."""

    def __init__(self, stem: nn.Module, step: GuidedStep) -> None:
        super().__init__()
        self.stem = stem
        self.step = step

    def refined(self, x: Tensor, image: Tensor) -> Upsampled:
        return Upsampled(self.step(x, self.stem(image)), image)


def find_unet(level: nn.Module, path: str, skip: SkipConnection | None = None) -> Iterator[Site | Kept]:
    """Steps of ``level`` and the levels inside it; ``skip`` is the connection around it, None for the outermost level.

    Levels of an earlier swap are only traversed: their steps are found as guided steps, except the outermost one,
    whose guide depends on the upsampler.
    """
    if isinstance(level, UNetLevel):
        if isinstance(level[2], ImageStep):
            yield from _image_step(level[2], f"{path}.2.step", convs(level[0])[0].in_channels)
        yield from find_unet(cast(Any, level[1]).submodule, f"{path}.1.submodule", cast(SkipConnection, level[1]))
        return
    if not (type(level) is nn.Sequential and len(level) == 3 and isinstance(level[1], SkipConnection)):
        for name, module in level.named_modules():
            if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
                yield Kept(f"{path}.{name}", describe(module), "the structure of its level is unknown")
        return
    down, inner, up = cast(Any, level)
    with_unit = isinstance(up[0], nn.Sequential)  # a residual unit after the convolution
    block, unit = (up[0], up[1]) if with_unit else (up, None)
    old = unwrapped(block.conv)
    place_path = f"{path}.2.0.conv" if with_unit else f"{path}.2.conv"
    ratio = tuple(float(s) for s in old.stride)
    dims = len(ratio)
    if max(ratio) == 1:
        yield Kept(place_path, describe(old), "it does not enlarge")
    else:
        input_channels = convs(down)[0].in_channels
        # the outermost step has the level's width, not the number of classes
        channels = old.out_channels if skip is not None else convs(down)[-1].out_channels
        guide = input_channels if skip is not None else IMAGE_GUIDE_CHANNELS
        place = partial(_place_in_unet, level, old, getattr(block, "adn", None), unit, input_channels, skip)
        no_start = "" if skip is not None else "its transposed convolution computes the classes"
        yield Site(place_path, old, dims, ratio, channels, guide, place, image_guide=skip is None, no_start=no_start)
    yield from find_unet(inner.submodule, f"{path}.1.submodule", inner)


def _place_in_unet(
    level: nn.Sequential,
    old: nn.Module,
    adn: nn.Module | None,
    unit: nn.Module | None,
    image_channels: int,
    skip: SkipConnection | None,
    upsampler: nn.Module,
) -> Placement:
    assert isinstance(old, nn.ConvTranspose2d | nn.ConvTranspose3d)
    dims = len(old.stride)
    old_names = {"0.adn.": "norm.", "1.": "fuse."} if unit is not None else {"adn.": "norm."}
    step: nn.Module
    guided: GuidedStep
    if skip is not None:
        project = projection(dims, old.in_channels, old.out_channels)
        guided = GuidedStep(upsampler, unit, project=project, norm=adn, join="none")
        step = renames(guided, old_names)
        new: tuple[nn.Module, ...] = (project,)
    else:
        width = convs(level[0])[-1].out_channels
        project = projection(dims, old.in_channels, width)
        stem = _stem(upsampler, dims, image_channels)
        classes = conv(dims, width, old.out_channels, 3)
        norm = nn.Sequential(classes, *([] if adn is None else [adn]))
        guided = GuidedStep(upsampler, unit, project=project, norm=norm, join="none")
        step = ImageStep(stem, guided)
        renames(step, {name: f"step.{to.replace('norm.', 'norm.1.')}" for name, to in old_names.items()})
        new = (project, stem, classes)

    def install() -> None:
        level[2] = step
        set_class(level, UNetLevel)
        if skip is not None:
            set_class(skip, RefinedSkip)

    return Placement(guided, new, install)


def _image_step(old: ImageStep, path: str, image_channels: int) -> Iterator[Site]:
    """The outermost step of an earlier swap: its image stem is added or removed as the upsampler requires."""
    for site in guided_step(path, old.step):

        def place(upsampler: nn.Module, site: Site = site) -> Placement:
            placed = site.place(upsampler)
            if reads_guide(upsampler) != isinstance(old.stem, nn.Identity):
                return placed
            stem = _stem(upsampler, site.spatial_dims, image_channels)

            def install() -> None:
                old.stem = stem
                placed.install()

            return Placement(old.step, (stem,), install)

        yield replace(site, guide_channels=IMAGE_GUIDE_CHANNELS, place=place, image_guide=True)


def _stem(upsampler: nn.Module, spatial_dims: int, image_channels: int) -> nn.Module:
    return image_stem(spatial_dims, image_channels) if reads_guide(upsampler) else nn.Identity()
