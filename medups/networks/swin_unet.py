"""Swin-Unet (arXiv 2105.05537): windowed attention in encoder and decoder, and a swappable upsampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets.swin_unetr import BasicLayer
from torch import Tensor, nn

from medups.networks.deep_heads import DeepHeads
from medups.networks.guided_step import IMAGE_GUIDE_CHANNELS, GuidedStep, conv_norm_relu, step_upsampler
from medups.networks.image_size import checked_size, three_channels
from medups.upsamplers import Upsampled, upsampler_class
from medups.upsamplers.layers import pixel_shuffle

PUBLISHED_UPSAMPLER = "patch_expand"
_PATCH, _WINDOW = 4, 7


@dataclass(frozen=True)
class Variant:
    """Channels of the patch embedding; blocks and heads of each stage, fine to coarse."""

    embed_channels: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]


VARIANTS = {
    "tiny": Variant(96, (2, 2, 2, 2), (3, 6, 12, 24)),
    "small": Variant(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": Variant(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "test": Variant(16, (1, 1, 2), (1, 2, 4)),
}


class SwinUNet(nn.Module):
    """Swin-Unet for ``img_size`` images; logits [B, out_channels, H, W] from [B, in_channels, H, W].

    Args:
        img_size: height and width, or one number for both; multiples of 32 (16 for ``test``). Maps that 7 x 7
            windows do not divide are padded with zeros.
        in_channels: channels of the image; a single channel is repeated to three, as published.
        out_channels: classes, background included.
        upsampler: ``patch_expand`` (published: a linear layer to four pixels) or any name of
            ``list_upsamplers()``; in each decoder step the encoder's map is the guide.
        upsampler_options: further arguments of the upsampler.
        image_guide: use ``upsampler`` for the final 4x step too, guided by a 3x3 convolution of the image if it
            reads a guide. Otherwise patches are expanded, as published.
        variant: ``tiny``, ``small``, ``base``, or ``test`` with a few thousand parameters.
        drop_path: highest rate of stochastic depth.
        deep_supervision: in training mode return a list of logits: the final ones, then those of the steps before the
            last, finest first.

    Raises:
        ValueError: an invalid size (the message suggests one), an unknown variant or upsampler.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        in_channels: int = 1,
        out_channels: int = 9,
        upsampler: str = PUBLISHED_UPSAMPLER,
        upsampler_options: Mapping[str, Any] | None = None,
        image_guide: bool = False,
        variant: str = "tiny",
        drop_path: float = 0.2,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"SwinUNet: unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}")
        sizes = VARIANTS[variant]
        self.img_size = checked_size("SwinUNet", img_size, _PATCH * 2 ** (len(sizes.depths) - 1))
        self.in_channels = in_channels
        channels = [sizes.embed_channels * 2**stage for stage in range(len(sizes.depths))]
        maps = [tuple(n // (_PATCH * 2**stage) for n in self.img_size) for stage in range(len(sizes.depths))]
        rates = iter(torch.linspace(0, drop_path, sum(sizes.depths)).tolist())
        paths = [[next(rates) for _ in range(depth)] for depth in sizes.depths]

        def stage(number: int) -> BasicLayer:
            return _stage(channels[number], sizes.depths[number], sizes.heads[number], maps[number], paths[number])

        self.patches = nn.Sequential(
            nn.Conv2d(3 if in_channels == 1 else in_channels, channels[0], _PATCH, _PATCH), ChannelNorm(channels[0])
        )
        self.stages = nn.ModuleList(stage(number) for number in range(len(channels)))
        self.merges = nn.ModuleList(PatchMerging(width) for width in channels[:-1])
        self.norm = ChannelNorm(channels[-1])
        options = dict(upsampler_options or {})
        self.steps = nn.ModuleList(
            _step(channels[number], upsampler, options, stage(number)) for number in reversed(range(len(channels) - 1))
        )
        self.norm_up = ChannelNorm(channels[0])
        last = upsampler if image_guide else PUBLISHED_UPSAMPLER
        guided = last != PUBLISHED_UPSAMPLER and upsampler_class(last).needs_guide
        self.image_guide = conv_norm_relu(in_channels, IMAGE_GUIDE_CHANNELS) if guided else None
        self.last = _last_step(channels[0], last, options)
        self.head = nn.Conv2d(channels[0], out_channels, 1, bias=False)
        coarser = channels[:-1] if deep_supervision else []
        self.deep_heads = DeepHeads(2, coarser, out_channels)
        for step in (*self.steps, self.last):
            step.project.apply(_init)
            step.fuse.apply(_init)
        self.stages.apply(_init)
        self.merges.apply(_init)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        x = self.patches(three_channels("SwinUNet", image, self.in_channels, self.img_size))
        skips = []
        for stage, merge in zip(self.stages[:-1], self.merges, strict=True):
            skips.append(x)
            x = merge(stage(x))
        x = self.norm(self.stages[-1](x))
        maps: list[Tensor] = []
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            x = step(x, skip)
            maps.insert(0, x)
        guide = None if self.image_guide is None else self.image_guide(image)
        logits: Tensor | list[Tensor] = self.deep_heads(self.head(self.last(self.norm_up(x), guide)), maps)
        return logits


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class PatchMerging(nn.Module):
    """Merges four neighboring pixels into one: [B, C, H, W] -> [B, 2 C, H / 2, W / 2]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(4 * channels)
        self.reduction = nn.Conv2d(4 * channels, 2 * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, 1)))


class PatchExpand(nn.Module):
    """Rearranges channels into pixels, with an upsampler's interface: [B, scale**2 C, H, W] -> [B, C, scale H, ...]."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Upsampled:
        return Upsampled(pixel_shuffle(x, (self.scale, self.scale)), guide)


def _step(channels: int, upsampler: str, options: dict[str, Any], stage: BasicLayer) -> GuidedStep:
    """A step from twice the channels at half the size, guided by the encoder's map of the same width."""
    fuse = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), stage)
    if upsampler == PUBLISHED_UPSAMPLER:
        expand = nn.Conv2d(2 * channels, 4 * channels, 1, bias=False)
        return GuidedStep(PatchExpand(2), fuse, project=expand, norm=ChannelNorm(channels))
    up = step_upsampler(upsampler, 2, channels, channels, 2, options)
    project = nn.Conv2d(2 * channels, channels, 1, bias=False)
    return GuidedStep(up, fuse, project=project, norm=ChannelNorm(channels))


def _last_step(channels: int, upsampler: str, options: dict[str, Any]) -> GuidedStep:
    """The final step, from patches to pixels."""
    norm = ChannelNorm(channels)
    if upsampler == PUBLISHED_UPSAMPLER:
        expand = nn.Conv2d(channels, _PATCH**2 * channels, 1, bias=False)
        return GuidedStep(PatchExpand(_PATCH), project=expand, norm=norm, join="none")
    guide = IMAGE_GUIDE_CHANNELS if upsampler_class(upsampler).needs_guide else None
    up = step_upsampler(upsampler, 2, channels, guide, _PATCH, options)
    return GuidedStep(up, norm=norm, join="none")


def _stage(channels: int, depth: int, heads: int, size: Sequence[int], drop_path: list[float]) -> BasicLayer:
    """A stage of blocks; windows larger than the map are reduced to its size."""
    window = min(_WINDOW, *size)
    return BasicLayer(channels, depth, heads, (window, window), drop_path, qkv_bias=True)


def _init(module: nn.Module) -> None:
    """As published: truncated normal weights in all linear layers and 1x1 convolutions."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
