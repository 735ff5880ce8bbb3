"""Segmenter (arXiv 2105.05633): timm's ViT, and a linear head or a decoder with one token per class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.networks.guided_step import step_upsampler
from medups.networks.pictures.heads import classifier
from medups.networks.pictures.libraries import library
from medups.upsamplers import upsampler_class

_RATIO = 4
_GUIDE_CHANNELS = 32


@dataclass(frozen=True)
class Variant:
    """Channels, blocks and heads of the ViT with patches of 16 x 16 pixels."""

    width: int
    blocks: int
    heads: int


VARIANTS = {
    "t": Variant(192, 12, 3),
    "s": Variant(384, 12, 6),
    "b": Variant(768, 12, 12),
    "tiny": Variant(64, 2, 2),
}


class Segmenter(nn.Module):
    """Logits [B, out_channels, H/16, W/16] of pictures [B, 3, H, W], or H/4, W/4 with an upsampler.

    Args:
        out_channels: classes.
        variant: ``t``, ``s`` or ``b``, or ``tiny`` for trials.
        size: height and width that the position embedding is made for; it is interpolated for others.
        head: ``linear``, or ``mask`` for the decoder with one token per class.
        upsampler, upsampler_options: any name of ``list_upsamplers()``, and its arguments: the encoder's map (with
            ``mask``, the decoder's) is enlarged 4 times, guided by two convolutions of the picture, as ReSFU's paper
            does; None classifies at 1/16, as published.
        drop_path: rate of the last block; earlier ones have less.

    Raises:
        ImportError: timm is not installed.
        ValueError: an unknown variant, head or upsampler.
    """

    def __init__(
        self,
        out_channels: int,
        variant: str = "s",
        size: int = 512,
        head: Literal["linear", "mask"] = "linear",
        upsampler: str | None = None,
        upsampler_options: Mapping[str, Any] | None = None,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"Segmenter: unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}")
        if head not in ("linear", "mask"):
            raise ValueError(f"Segmenter: head must be 'linear' or 'mask', got {head!r}")
        sizes = VARIANTS[variant]
        vit = library("timm.models.vision_transformer")
        self.encoder = vit.VisionTransformer(
            img_size=size, patch_size=16, embed_dim=sizes.width, depth=sizes.blocks, num_heads=sizes.heads,
            num_classes=0, drop_path_rate=drop_path, dynamic_img_size=True, dynamic_img_pad=True,
        )  # fmt: skip
        mask = MaskDecoder(sizes.width, sizes.heads, out_channels, vit.Block) if head == "mask" else None
        self.head = SegmenterHead(sizes.width, out_channels, mask, upsampler, dict(upsampler_options or {}))

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.encoder.forward_features(image)[:, self.encoder.num_prefix_tokens :]
        logits: Tensor = self.head(tokens, image)
        return logits


class SegmenterHead(nn.Module):
    """Classifies the tokens of the encoder, or of the mask decoder, which an upsampler may enlarge first."""

    def __init__(
        self, width: int, out_channels: int, mask: MaskDecoder | None, upsampler: str | None, options: dict[str, Any]
    ) -> None:
        super().__init__()
        self.mask = mask
        self.classify = classifier(width, out_channels) if mask is None else None
        self.guide: nn.Module | None = None
        self.upsampler: nn.Module | None = None
        if upsampler is not None:
            self.guide = picture_guide(_GUIDE_CHANNELS) if upsampler_class(upsampler).needs_guide else None
            channels = _GUIDE_CHANNELS if self.guide is not None else None
            self.upsampler = step_upsampler(upsampler, 2, width, channels, _RATIO, options)

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        """Tokens [B, N, C] of the image's patches -> logits."""
        grid = [-(-n // 16) for n in image.shape[2:]]
        if self.mask is not None:
            tokens, classes = self.mask(tokens)
        x = tokens.transpose(1, 2).unflatten(2, grid)
        if self.upsampler is not None:
            x = self.upsampler(x, None if self.guide is None else self.guide(_padded(image))).x
        if self.mask is not None:
            return self.mask.logits(x, classes)
        assert self.classify is not None  # one of both heads exists
        logits: Tensor = self.classify(x)
        return logits


class MaskDecoder(nn.Module):
    """Attention between the tokens of patches and one learned token per class; logits are their similarities."""

    def __init__(self, width: int, heads: int, classes: int, block: type[nn.Module], blocks: int = 2) -> None:
        super().__init__()
        self.proj_dec = nn.Linear(width, width)
        self.classes = nn.Parameter(torch.empty(1, classes, width))
        self.blocks = nn.Sequential(*(block(width, heads, qkv_bias=True, proj_drop=0.1) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.proj_patch = nn.Linear(width, width, bias=False)
        self.proj_classes = nn.Linear(width, width, bias=False)
        self.mask_norm = nn.LayerNorm(classes)
        nn.init.trunc_normal_(self.classes, std=0.02)
        for layer in (self.proj_patch, self.proj_classes):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded tokens of the patches [B, N, C] and of the classes [B, K, C]."""
        joined = torch.cat([self.proj_dec(tokens), self.classes.expand(len(tokens), -1, -1)], 1)
        decoded = self.norm(self.blocks(joined))
        patches, classes = decoded[:, : tokens.shape[1]], decoded[:, tokens.shape[1] :]
        return patches, classes

    def logits(self, x: Tensor, classes: Tensor) -> Tensor:
        """Decoded patches as a map [B, C, h, w] -> logits [B, K, h, w]."""
        patches = F.normalize(self.proj_patch(x.movedim(1, -1)), dim=-1)
        similarity = torch.einsum("bhwc,bkc->bhwk", patches, F.normalize(self.proj_classes(classes), dim=-1))
        out: Tensor = self.mask_norm(similarity).movedim(-1, 1)
        return out


def picture_guide(channels: int) -> nn.Sequential:
    """Two 3x3 convolutions with stride 2 of the picture, as in ReSFU's Segmenter."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2, 1, padding_mode="replicate"),
        nn.GroupNorm(1, 64),
        nn.ReLU(),
        nn.Conv2d(64, channels, 3, 2, 1, padding_mode="replicate"),
    )


def _padded(image: Tensor) -> Tensor:
    """The picture with the zeros that the encoder adds at the end of sides that are no multiples of 16."""
    height, width = image.shape[2:]
    return F.pad(image, (0, -width % 16, 0, -height % 16))
