"""Heads for the four maps of a hierarchical encoder, and the placements of upsamplers in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medups.networks.guided_step import step_upsampler

Placement = Literal["direct", "stepwise", "fusion"]
PLACEMENTS: tuple[Placement, ...] = ("direct", "stepwise", "fusion")


class PlacedUpsampling(nn.Module):
    """Brings maps, finest first and each half the size of the one before, to the finest size, and concatenates them.

    Args:
        channels: of each map, finest first.
        upsampler, options: any name of ``list_upsamplers()``, and its arguments.
        placement: ``direct`` enlarges every map at once, guided by the finest (ReSFU's heads; interpolation, as
            published). ``stepwise`` enlarges every map by factors of 2, each step with its own upsampler, guided by
            the map of that size (CARAFE, SAPA, FADE, DySample). ``fusion`` enlarges the concatenation of all coarser
            maps, and concatenates the refined guide (FreqFusion); the widths must be multiples of its groups.

    Raises:
        ValueError: an unknown placement or upsampler.
    """

    def __init__(
        self,
        channels: Sequence[int],
        upsampler: str,
        options: Mapping[str, Any],
        placement: Placement = "direct",
    ) -> None:
        super().__init__()
        if placement not in PLACEMENTS:
            raise ValueError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}")
        self.placement = placement

        def step(width: int, guide: int, ratio: int) -> nn.Module:
            return step_upsampler(upsampler, 2, width, guide, ratio, options)

        levels = range(len(channels))
        if placement == "direct":
            modules = [step(channels[level], channels[0], 2**level) for level in levels[1:]]
        elif placement == "stepwise":
            modules = [
                step(channels[level], channels[goal], 2) for level in levels[:0:-1] for goal in range(level)[::-1]
            ]
        else:
            modules = [step(sum(channels[level:]), channels[level - 1], 2) for level in levels[:0:-1]]
        self.upsamplers = nn.ModuleList(modules)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C_i, h_i, w_i], finest first -> [B, sum of C_i, h_0, w_0]."""
        steps = iter(self.upsamplers)
        if self.placement == "direct":
            enlarged = [step(x, maps[0]).x for step, x in zip(steps, maps[1:], strict=True)]
            return torch.cat([maps[0], *enlarged], 1)
        if self.placement == "stepwise":
            climbed = [maps[0]]
            for level in range(len(maps))[:0:-1]:
                x = maps[level]
                for guide in maps[:level][::-1]:
                    x = next(steps)(x, guide).x
                climbed.insert(1, x)
            return torch.cat(climbed, 1)
        x = maps[-1]
        for step, guide in zip(steps, maps[-2::-1], strict=True):
            up = step(x, guide)
            x = _joined(up.guide, up.x, getattr(step, "offset_groups", 1))
        return x


def _joined(guide: Tensor, x: Tensor, groups: int) -> Tensor:
    """Both maps, group by group, so that the channels that share offsets stay together, as published."""
    return torch.cat([guide.unflatten(1, (groups, -1)), x.unflatten(1, (groups, -1))], 2).flatten(1, 2)


class MLPHead(nn.Module):
    """SegFormer's head: every map is projected, enlarged to the finest size, and all are fused by a 1x1 convolution.

    Args:
        in_channels: of each map, finest first.
        out_channels: classes.
        width: channels of the projected maps.
        project: ``norm`` is mmsegmentation's, a 1x1 convolution with batch norm and ReLU; ``linear`` the original's.
        upsampler, options, placement: see :class:`PlacedUpsampling`.
        dropout: of channels, before the classifier.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        width: int,
        upsampler: str,
        options: Mapping[str, Any],
        placement: Placement,
        project: Literal["norm", "linear"] = "norm",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if project not in ("norm", "linear"):
            raise ValueError(f"project must be 'norm' or 'linear', got {project!r}")
        self.projections = nn.ModuleList(
            pointwise(channels, width) if project == "norm" else nn.Conv2d(channels, width, 1)
            for channels in in_channels
        )
        self.upsampling = PlacedUpsampling([width] * len(in_channels), upsampler, options, placement)
        self.fuse = pointwise(width * len(in_channels), width)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = classifier(width, out_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, finest first -> logits at the finest map's size."""
        projected = [project(x) for project, x in zip(self.projections, maps, strict=True)]
        logits: Tensor = self.classify(self.dropout(self.fuse(self.upsampling(projected))))
        return logits


def pointwise(in_channels: int, out_channels: int, norm: nn.Module | None = None) -> nn.Sequential:
    """1x1 convolution, batch norm unless another is given, ReLU."""
    layers = (nn.Conv2d(in_channels, out_channels, 1, bias=False), norm or nn.BatchNorm2d(out_channels), nn.ReLU())
    nn.init.kaiming_normal_(layers[0].weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(*layers)


def classifier(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1x1 convolution with mmsegmentation's initial weights."""
    layer = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
