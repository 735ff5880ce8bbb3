"""SegNeXt (arXiv 2209.08575): MSCAN, and a head that decomposes its map into a few global patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.networks.pictures.heads import PlacedUpsampling, Placement, classifier, pointwise
from medups.networks.pictures.mscan import MSCAN

_STEPS_IN_TRAINING, _STEPS_IN_EVALUATION = 6, 7
_GROUPS = 32
_EPS = 1e-6


@dataclass(frozen=True)
class Variant:
    """Channels and blocks of the four stages, stochastic depth, width of the head and number of its patterns."""

    channels: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    drop_path: float
    width: int
    patterns: int


_WIDE = (64, 128, 320, 512)
VARIANTS = {
    "t": Variant((32, 64, 160, 256), (3, 3, 5, 2), 0.1, 256, 16),
    "s": Variant(_WIDE, (2, 2, 4, 2), 0.1, 256, 16),
    "b": Variant(_WIDE, (3, 3, 12, 3), 0.1, 512, 64),
    "l": Variant(_WIDE, (3, 5, 27, 3), 0.3, 1024, 64),
    "tiny": Variant((16, 32, 48, 64), (1, 1, 1, 1), 0.0, 64, 8),
}


class SegNeXt(nn.Module):
    """Logits [B, out_channels, H/8, W/8] of pictures [B, 3, H, W] of any size.

    Args:
        out_channels: classes.
        variant: ``t``, ``s``, ``b`` or ``l``, or ``tiny`` for trials.
        upsampler, upsampler_options: any name of ``list_upsamplers()``, and its arguments; None for the published
            linear interpolation of the stages at 1/16 and 1/32.
        placement: where the upsamplers are, ``fusion`` for FreqFusion as published; see
            :class:`~medups.networks.pictures.heads.PlacedUpsampling`.

    Raises:
        ValueError: an unknown variant, upsampler or placement.
    """

    def __init__(
        self,
        out_channels: int,
        variant: str = "t",
        upsampler: str | None = None,
        upsampler_options: Mapping[str, Any] | None = None,
        placement: Placement = "direct",
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"SegNeXt: unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}")
        sizes = VARIANTS[variant]
        self.encoder = MSCAN(sizes.channels, sizes.blocks, sizes.drop_path)
        self.head = HamburgerHead(
            sizes.channels[1:], out_channels, sizes, upsampler or "linear", dict(upsampler_options or {}), placement
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(image)[1:])
        return logits


class HamburgerHead(nn.Module):
    """Joins the maps at the size of the finest, approximates the result, and classifies it."""

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        sizes: Variant,
        upsampler: str,
        options: Mapping[str, Any],
        placement: Placement,
    ) -> None:
        super().__init__()
        width = sizes.width
        self.upsampling = PlacedUpsampling(in_channels, upsampler, options, placement)
        self.squeeze = pointwise(sum(in_channels), width, nn.GroupNorm(_GROUPS, width))
        self.hamburger = Hamburger(width, sizes.patterns)
        self.align = pointwise(width, width, nn.GroupNorm(_GROUPS, width))
        self.dropout = nn.Dropout2d(0.1)
        self.classify = classifier(width, out_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, finest first -> logits at the finest map's size."""
        joined = self.squeeze(self.upsampling(maps))
        logits: Tensor = self.classify(self.dropout(self.align(self.hamburger(joined))))
        return logits


class Hamburger(nn.Module):
    """Adds the map's own low-rank approximation (arXiv 2109.04553), a substitute for attention.

    Args:
        width: channels.
        patterns: the rank.
    """

    def __init__(self, width: int, patterns: int) -> None:
        super().__init__()
        self.patterns = patterns
        self.ham_in = nn.Conv2d(width, width, 1)
        self.ham_out = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.GroupNorm(_GROUPS, width))

    def forward(self, x: Tensor) -> Tensor:
        positive = F.relu(self.ham_in(x))
        with torch.autocast(x.device.type, enabled=False):  # products of many small numbers
            approximated = factorized(
                positive.flatten(2).float(),
                self.patterns,
                _STEPS_IN_TRAINING if self.training else _STEPS_IN_EVALUATION,
                random=self.training,
            )
        return F.relu(x + self.ham_out(approximated.to(x.dtype).view_as(x)))


def factorized(x: Tensor, patterns: int, steps: int, random: bool = False) -> Tensor:
    """The product of two non-negative matrices that approximates ``x`` [B, C, N] >= 0, by multiplicative updates.

    Args:
        patterns: the rank of the product.
        steps: updates of both matrices; gradients flow through all of them.
        random: draw the first patterns. The published code does so in evaluation too; here they are fixed then, so that
            the same picture has the same result in every batch and on every device.
    """
    shape = x.shape[0], x.shape[1], patterns
    bases = torch.rand(shape, device=x.device) if random else _scattered(x.shape[1], patterns, x.device).expand(shape)
    bases = F.normalize(bases, dim=1)
    codes = (x.transpose(1, 2) @ bases).softmax(-1)
    for _ in range(steps):
        codes = codes * (x.transpose(1, 2) @ bases) / (codes @ (bases.transpose(1, 2) @ bases) + _EPS)
        bases = bases * (x @ codes) / (bases @ (codes.transpose(1, 2) @ codes) + _EPS)
    codes = codes * (x.transpose(1, 2) @ bases) / (codes @ (bases.transpose(1, 2) @ bases) + _EPS)
    return bases @ codes.transpose(1, 2)


def _scattered(rows: int, columns: int, device: torch.device) -> Tensor:
    """Numbers from 0 to 1 without a pattern [rows, columns], the same on every device."""
    row, column = (torch.arange(n, device=device, dtype=torch.float64) for n in (rows, columns))
    return torch.frac(torch.sin(12.9898 * row[:, None] + 78.233 * column) * 43758.5453).abs().float()
