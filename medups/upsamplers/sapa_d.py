"""SAPA-D: similarity-aware point affiliation at predicted positions (arXiv 2307.08198)."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from medups.ops.dtypes import wide_dtype
from medups.upsamplers.base import Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import GroupNorm, conv, dividing_groups, pixel_shuffle, read_nearest, whole_scale
from medups.upsamplers.sampled_attention import along_axis, sampled_attention

_NORM_GROUPS = 32


class SAPAD(Upsampler):
    """Attention of guide pixels to a few positions of the deep map, which are predicted from the deep map.

    Args:
        points: positions per output pixel and group.
        groups: groups of channels with their own positions and weights.
        embed_channels: channels of queries and keys in each group.
        fine_offsets: predict positions for every output pixel; if False, for every pixel of the deep map.
        norm: group norm of both maps, with 32 groups, before queries, keys and positions are computed.

    Further arguments and errors: see :class:`Upsampler`; scale factors must be whole numbers.
    """

    needs_guide = True
    parts = (Part("offsets", ("offset.*",)), Part("embedding", ("query.*", "key.*")))

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        points: int = 9,
        groups: int = 4,
        embed_channels: int = 32,
        fine_offsets: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        assert guide_channels is not None  # checked by the base
        self.scale = whole_scale(self)
        self.points, self.groups = points, dividing_groups("SAPAD", groups, in_channels)
        if points < 1:
            raise ValueError(f"SAPAD: points must be at least 1, got {points}")
        self.fine_offsets = fine_offsets
        self.norm: nn.Module | None = None
        self.norm_guide: nn.Module | None = None
        if norm:
            for name, channels in (("in_channels", in_channels), ("guide_channels", guide_channels)):
                if channels % _NORM_GROUPS:
                    raise ValueError(f"SAPAD: {name} must be a multiple of {_NORM_GROUPS} with norm, got {channels}")
            self.norm, self.norm_guide = GroupNorm(_NORM_GROUPS, in_channels), GroupNorm(_NORM_GROUPS, guide_channels)
        maps = prod(self.scale) if fine_offsets else 1
        self.query = conv(spatial_dims, guide_channels, groups * embed_channels)
        self.key = conv(spatial_dims, in_channels, groups * embed_channels)
        self.offset = conv(spatial_dims, in_channels, spatial_dims * groups * points * maps)
        for layer in (self.query, self.key, self.offset):
            nn.init.normal_(layer.weight, std=0.02)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        assert guide is not None  # checked by the base
        normed = x if self.norm is None else self.norm(x)
        query = self.query(guide if self.norm_guide is None else self.norm_guide(guide))
        shifts = self._shifts(normed, size)
        positions = []
        for point in range(self.points):
            axes = []
            for axis, (n, out) in enumerate(zip(x.shape[2:], size, strict=True)):
                cell = torch.arange(out, device=x.device) * n // out
                axes.append(shifts[:, :, point, axis] + along_axis(cell, axis, self.spatial_dims))
            positions.append(torch.stack(axes, 2))
        return Upsampled(sampled_attention(query, self.key(normed), x, positions, self.groups), guide)

    def offset_field(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        normed = x if self.norm is None else self.norm(x)
        shifts = self._shifts(normed, self.output_size(x, guide))
        return shifts.flatten(1, 2).transpose(1, 2).flip(1)

    def _shifts(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """Offsets [B, G, points, d, *out] in pixels of the deep map, the first axis first."""
        raw = self.offset(x)
        if self.fine_offsets:
            raw = pixel_shuffle(raw, self.scale)
        raw = read_nearest(raw, size).unflatten(1, (self.groups, self.points, self.spatial_dims))
        return raw.to(wide_dtype(raw.dtype)).flip(3)
