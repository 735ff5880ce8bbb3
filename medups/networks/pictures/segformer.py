"""SegFormer (arXiv 2105.15203): the MiT encoder of transformers, and a head with a swappable upsampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from medups.networks.pictures.heads import MLPHead, Placement
from medups.networks.pictures.libraries import library


@dataclass(frozen=True)
class Variant:
    """Channels and blocks of the four stages, and the width of the head."""

    channels: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    width: int


_WIDE = (64, 128, 320, 512)
VARIANTS = {
    "b0": Variant((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": Variant(_WIDE, (2, 2, 2, 2), 256),
    "b2": Variant(_WIDE, (3, 4, 6, 3), 768),
    "b3": Variant(_WIDE, (3, 4, 18, 3), 768),
    "b4": Variant(_WIDE, (3, 8, 27, 3), 768),
    "b5": Variant(_WIDE, (3, 6, 40, 3), 768),
    "tiny": Variant((16, 32, 40, 64), (1, 1, 1, 1), 64),
}


class SegFormer(nn.Module):
    """Logits [B, out_channels, H/4, W/4] of pictures [B, 3, H, W] of any size.

    Args:
        out_channels: classes.
        variant: ``b0`` to ``b5``, or ``tiny`` for trials.
        upsampler, upsampler_options: any name of ``list_upsamplers()``, and its arguments; None for the published
            linear interpolation.
        placement: where the upsamplers are; see :class:`~medups.networks.pictures.heads.PlacedUpsampling`.
        project: ``norm`` for mmsegmentation's head, ``linear`` for the original's.
        width: channels of the head; None for the original's, 256 or 768. ReSFU's and FreqFusion's papers use 256.
        drop_path: rate of the last block; earlier ones have less.

    Raises:
        ImportError: transformers is not installed.
        ValueError: an unknown variant, upsampler or placement.
    """

    def __init__(
        self,
        out_channels: int,
        variant: str = "b1",
        upsampler: str | None = None,
        upsampler_options: Mapping[str, Any] | None = None,
        placement: Placement = "direct",
        project: Literal["norm", "linear"] = "norm",
        width: int | None = None,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"SegFormer: unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}")
        sizes = VARIANTS[variant]
        transformers = library("transformers")
        self.encoder = transformers.SegformerModel(
            transformers.SegformerConfig(
                hidden_sizes=list(sizes.channels),
                depths=list(sizes.blocks),
                num_attention_heads=[1, 2, 5, 8],
                sr_ratios=[8, 4, 2, 1],
                mlp_ratios=[4, 4, 4, 4],
                drop_path_rate=drop_path,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
        )
        self.head = MLPHead(
            sizes.channels,
            out_channels,
            width or sizes.width,
            upsampler or "linear",
            dict(upsampler_options or {}),
            placement,
            project,
        )

    def forward(self, image: Tensor) -> Tensor:
        maps = self.encoder(pixel_values=image, output_hidden_states=True).hidden_states
        logits: Tensor = self.head(maps[-4:])
        return logits
