"""DySample: learning to upsample by learning to sample (arXiv 2308.15085)."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from medups.ops import sample_offsets
from medups.upsamplers.base import Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import conv, dividing_groups, pixel_shuffle, read_nearest, whole_scale

_STATIC_SCOPE = 0.25
_DYNAMIC_SCOPE = 0.5


class DySample(Upsampler):
    """Each output pixel reads the deep map at a predicted position, with linear interpolation.

    Args:
        style: ``lp`` predicts offsets on the deep map and shuffles them to the output; ``pl`` shuffles first.
        groups: groups of channels, each with its own offsets.
        dynamic_scope: also predict how far offsets may reach.

    Further arguments and errors: see :class:`Upsampler`; scale factors must be whole numbers, and ``pl`` needs
    a number of channels that is a multiple of their product. With zero offsets the result is linear interpolation.
    """

    parts = (Part("offsets", ("offset.*", "scope.*")),)

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        style: Literal["lp", "pl"] = "lp",
        groups: int = 4,
        dynamic_scope: bool = False,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        if style not in ("lp", "pl"):
            raise ValueError(f"DySample: style must be 'lp' or 'pl', got {style!r}")
        self.scale = whole_scale(self)
        self.style = style
        dividing_groups("DySample", groups, in_channels)
        pixels = prod(self.scale)
        if style == "pl" and in_channels % pixels:
            raise ValueError(f"DySample: in_channels must be divisible by {pixels} for style 'pl', got {in_channels}")
        width, maps = (in_channels, pixels) if style == "lp" else (in_channels // pixels, 1)
        self.offset = conv(spatial_dims, width, spatial_dims * groups * maps)
        self.scope = conv(spatial_dims, width, spatial_dims * groups * maps, bias=False) if dynamic_scope else None
        nn.init.normal_(self.offset.weight, std=0.001)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)
        if self.scope is not None:
            nn.init.zeros_(self.scope.weight)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        return Upsampled(sample_offsets(x, self._offsets(x, size)), guide)

    def offset_field(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        return self._offsets(x, self.output_size(x, guide)).unflatten(1, (self.spatial_dims, -1))

    def _offsets(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        source = x if self.style == "lp" else pixel_shuffle(x, self.scale)
        offsets = self.offset(source)
        if self.scope is None:
            offsets = offsets * _STATIC_SCOPE
        else:
            offsets = offsets * torch.sigmoid(self.scope(source)) * _DYNAMIC_SCOPE
        if self.style == "lp":
            offsets = pixel_shuffle(offsets, self.scale)
        return read_nearest(offsets, size)
