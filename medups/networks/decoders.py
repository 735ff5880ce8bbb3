"""Decoders for any encoder that returns a pyramid of maps, 2-D and 3-D."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medups.networks.deep_heads import DeepHeads
from medups.networks.guided_step import GuidedStep, Join, step_upsampler
from medups.ops.resizing import resize_linear
from medups.upsamplers.layers import conv

_GROUPS = 8


class PyramidDecoder(nn.Module, ABC):
    """The shared parts of both decoders: projections, heads and checks.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the encoder's maps, finest to coarsest.
        out_channels: classes, background included.
        width: channels that every map is projected to; a multiple of 8.
        upsampler: any name of ``list_upsamplers()``.
        upsampler_options: further arguments of the upsampler.
        join: how maps are combined before fusion, ``concat`` or ``add``.
        deep_supervision: in training mode return a list of logits, the final ones first.

    Raises:
        ValueError: fewer than two maps, a width that is not a multiple of 8, or an unknown upsampler or join.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: Sequence[int],
        out_channels: int,
        width: int = 64,
        upsampler: str = "resfu",
        upsampler_options: Mapping[str, Any] | None = None,
        join: Join = "concat",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if len(in_channels) < 2:
            raise ValueError(f"{name}: in_channels must list at least two maps, got {list(in_channels)}")
        if width % _GROUPS:
            raise ValueError(f"{name}: width must be a multiple of {_GROUPS}, got {width}")
        if join not in ("concat", "add"):
            raise ValueError(f"{name}: join must be 'concat' or 'add', got {join!r}")
        self.spatial_dims, self.in_channels, self.width = spatial_dims, tuple(in_channels), width
        self.upsampler, self.options, self.join = upsampler, dict(upsampler_options or {}), join
        self.finest = conv(self.spatial_dims, in_channels[0], width)
        self.head = conv(self.spatial_dims, width, out_channels)
        levels = len(in_channels) - 1 if deep_supervision else 0
        self.deep_heads = DeepHeads(self.spatial_dims, [width] * levels, out_channels)
        self.build_steps()

    def forward(self, maps: Sequence[Tensor], size: Sequence[int] | None = None) -> Tensor | list[Tensor]:
        """Logits [B, out_channels, *size] from ``maps``, finest first; ``size`` defaults to the finest map's."""
        if len(maps) != len(self.in_channels):
            raise ValueError(f"{type(self).__name__}: expected {len(self.in_channels)} maps, got {len(maps)}")
        fused, deeper = self.decode(maps)
        size = tuple(maps[0].shape[2:] if size is None else size)
        logits: Tensor | list[Tensor] = self.deep_heads(resize_linear(self.head(fused), size), deeper)
        return logits

    @abstractmethod
    def build_steps(self) -> None:
        """Create the modules that :meth:`decode` uses."""

    @abstractmethod
    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The fused map at the finest size, and one map per coarser level for deep supervision."""

    def _fuse(self, in_channels: int, kernel_size: int) -> nn.Sequential:
        mix = conv(self.spatial_dims, in_channels, self.width, kernel_size)
        return nn.Sequential(mix, nn.GroupNorm(_GROUPS, self.width), nn.ReLU())

    def _upsampler(self, ratio: int) -> nn.Module:
        return step_upsampler(self.upsampler, self.spatial_dims, self.width, self.width, ratio, self.options)


class DirectDecoder(PyramidDecoder):
    """Upsamples every map directly to the finest size, guided by the finest map, then fuses once.

    As in ReSFU (arXiv 2407.02283). Arguments and errors: see :class:`PyramidDecoder`. Deep supervision uses the
    enlarged coarser maps.
    """

    def build_steps(self) -> None:
        self.steps = nn.ModuleList(
            GuidedStep(
                self._upsampler(2**level),
                project=conv(self.spatial_dims, channels, self.width),
                join="none",
            )
            for level, channels in enumerate(self.in_channels[1:], 1)
        )
        self.fuse = self._fuse((len(self.in_channels) if self.join == "concat" else 1) * self.width, 1)

    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        finest = self.finest(maps[0])
        enlarged = [step(x, finest) for step, x in zip(self.steps, maps[1:], strict=True)]
        joined = torch.cat([finest, *enlarged], 1) if self.join == "concat" else sum(enlarged, finest)
        return self.fuse(joined), enlarged


class FusionDecoder(PyramidDecoder):
    """Decodes from coarse to fine; each step is guided by the next map and fused with the returned guide.

    As in FreqFusion (arXiv 2408.12879). Arguments and errors: see :class:`PyramidDecoder`. Deep supervision uses the
    map before each step.
    """

    def build_steps(self) -> None:
        self.coarsest = conv(self.spatial_dims, self.in_channels[-1], self.width)
        self.guides = nn.ModuleList(
            conv(self.spatial_dims, channels, self.width) for channels in self.in_channels[-2:0:-1]
        )
        joined = 2 * self.width if self.join == "concat" else self.width
        self.steps = nn.ModuleList(
            GuidedStep(self._upsampler(2), self._fuse(joined, 3), join=self.join) for _ in self.in_channels[1:]
        )

    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        x = self.coarsest(maps[-1])
        before: list[Tensor] = []
        for step, project, guide in zip(self.steps, (*self.guides, self.finest), maps[-2::-1], strict=True):
            before.insert(0, x)
            x = step(x, project(guide))
        return x, before
