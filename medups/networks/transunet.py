"""TransUNet (arXiv 2102.04306): ResNetV2 and ViT encoder, U-shaped decoder with a swappable upsampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from medups.networks.deep_heads import DeepHeads
from medups.networks.guided_step import IMAGE_GUIDE_CHANNELS, GuidedStep, conv_norm_relu, step_upsampler
from medups.networks.image_size import checked_size, three_channels
from medups.networks.resnet_v2 import ResNetV2
from medups.networks.vit import TransformerEncoder
from medups.upsamplers import upsampler_class

PUBLISHED_UPSAMPLER = "bilinear"
_STRIDE = 16


@dataclass(frozen=True)
class Variant:
    """Width and depth; decoder channels are listed from the deepest block to the finest.

    Without a ResNet (``width`` and ``units`` None) image patches are embedded directly, and no step has a skip.
    """

    width: int | None
    units: tuple[int, int, int] | None
    embed_channels: int
    heads: int
    mlp_channels: int
    layers: int
    bridge_channels: int
    decoder_channels: tuple[int, int, int, int]


VARIANTS = {
    "r50_vit_b16": Variant(64, (3, 4, 9), 768, 12, 3072, 12, 512, (256, 128, 64, 16)),
    "vit_b16": Variant(None, None, 768, 12, 3072, 12, 512, (256, 128, 64, 16)),
    "tiny": Variant(16, (1, 1, 1), 96, 4, 192, 2, 96, (64, 32, 16, 16)),
}


class TransUNet(nn.Module):
    """TransUNet for ``img_size`` images; logits [B, out_channels, H, W] from [B, in_channels, H, W].

    Args:
        img_size: height and width, or one number for both; multiples of 16.
        in_channels: channels of the image; a single channel is repeated to three, as published.
        out_channels: classes, background included.
        upsampler: ``bilinear`` (published: corners aligned) or any name of ``list_upsamplers()``. In each
            decoder block the skip is the guide; the last block has none and is guided by a 3x3 convolution of
            the image, if the upsampler reads a guide.
        upsampler_options: further arguments of the upsampler.
        image_guide: if False, blocks without a skip remain bilinear for upsamplers that read a guide.
        image_skip: blocks without a skip also concatenate that convolution of the image, whatever the upsampler.
        variant: ``r50_vit_b16``, ``vit_b16`` (no skips) or ``tiny``.
        deep_supervision: in training mode return a list of logits: the final ones, then those of the blocks before the
            last, finest first.

    Raises:
        ValueError: a size that is not a multiple of 16 (the message suggests one), an unknown variant or upsampler.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        in_channels: int = 1,
        out_channels: int = 9,
        upsampler: str = PUBLISHED_UPSAMPLER,
        upsampler_options: Mapping[str, Any] | None = None,
        image_guide: bool = True,
        image_skip: bool = False,
        variant: str = "r50_vit_b16",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        height, width = checked_size("TransUNet", img_size, _STRIDE)
        if variant not in VARIANTS:
            raise ValueError(f"TransUNet: unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}")
        sizes = VARIANTS[variant]
        self.img_size = (height, width)
        self.in_channels = in_channels
        channels = 3 if in_channels == 1 else in_channels
        self.encoder: ResNetV2 | None = None
        if sizes.width is not None and sizes.units is not None:
            self.encoder = ResNetV2(channels, sizes.width, sizes.units)
            self.patch_embedding = nn.Conv2d(self.encoder.out_channels, sizes.embed_channels, 1)
            skip_channels = self.encoder.skip_channels
        else:
            self.patch_embedding = nn.Conv2d(channels, sizes.embed_channels, _STRIDE, _STRIDE)
            skip_channels = (0, 0, 0)
        self.transformer = TransformerEncoder(
            (height // _STRIDE) * (width // _STRIDE),
            sizes.embed_channels,
            sizes.heads,
            sizes.mlp_channels,
            sizes.layers,
        )
        self.bridge = conv_norm_relu(sizes.embed_channels, sizes.bridge_channels)
        self.decoder = Decoder(
            sizes.bridge_channels,
            skip_channels,
            sizes.decoder_channels,
            in_channels,
            upsampler,
            dict(upsampler_options or {}),
            image_guide,
            image_skip,
        )
        self.head = nn.Conv2d(sizes.decoder_channels[-1], out_channels, 3, padding=1)
        coarser = sizes.decoder_channels[-2::-1] if deep_supervision else ()
        self.deep_heads = DeepHeads(2, coarser, out_channels)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        deep, skips = three_channels("TransUNet", image, self.in_channels, self.img_size), [None] * 3
        if self.encoder is not None:
            deep, skips = self.encoder(deep)
        embedded = self.patch_embedding(deep)
        tokens = self.transformer(embedded.flatten(2).transpose(1, 2))
        deep = self.bridge(tokens.transpose(1, 2).unflatten(2, embedded.shape[2:]))
        finest, *coarser = reversed(self.decoder(deep, skips, image))
        logits: Tensor | list[Tensor] = self.deep_heads(self.head(finest), coarser)
        return logits


class Decoder(nn.Module):
    """Decoder steps guided by the skips; steps without a skip, such as the last, use the image or no guide."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: Sequence[int],
        out_channels: Sequence[int],
        image_channels: int,
        upsampler: str,
        options: dict[str, Any],
        image_guide: bool,
        image_skip: bool,
    ) -> None:
        super().__init__()
        needs_guide = upsampler_class(upsampler).needs_guide
        reads_image = image_skip or (needs_guide and image_guide)
        self.image_guide = conv_norm_relu(image_channels, IMAGE_GUIDE_CHANNELS) if reads_image else None
        steps = []
        for skip, out in zip((*skip_channels, 0), out_channels, strict=True):
            guide = skip or (IMAGE_GUIDE_CHANNELS if self.image_guide is not None else None)
            unguided = needs_guide and guide is None
            name, further = (PUBLISHED_UPSAMPLER, {}) if unguided else (upsampler, options)
            up = step_upsampler(name, 2, in_channels, guide, 2, further)
            joined = skip or (IMAGE_GUIDE_CHANNELS if image_skip else 0)
            fuse = nn.Sequential(conv_norm_relu(in_channels + joined, out), conv_norm_relu(out, out))
            steps.append(GuidedStep(up, fuse, join="concat" if joined else "none"))
            in_channels = out
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor, skips: Sequence[Tensor | None], image: Tensor) -> list[Tensor]:
        """The map after each step."""
        maps = []
        guide = self.image_guide(image) if self.image_guide is not None else None
        for step, skip in zip(self.steps, (*skips, None), strict=True):
            if skip is None and guide is not None:
                ratio = guide.shape[2] // (2 * x.shape[2])
                skip = F.avg_pool2d(guide, ratio) if ratio > 1 else guide
            x = step(x, skip)
            maps.append(x)
        return maps
