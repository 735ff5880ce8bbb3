"""LDA-AQU: adaptive query-guided upsampling via local deformable attention (arXiv 2411.19585)."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.ops.dtypes import wide_dtype
from medups.ops.grid import LINEAR_MODES
from medups.upsamplers.base import Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import conv, dividing_groups, odd_kernel
from medups.upsamplers.sampled_attention import along_axis, sampled_attention


class LDAAQU(Upsampler):
    """Attention of the enlarged deep map to a deformed window of the deep map; reads no guide.

    Args:
        reduction: queries and keys have C / reduction channels.
        heads: groups of channels with their own attention.
        groups: groups of channels with their own offsets.
        kernel_size: odd; the window has this many pixels of the output along each axis.
        offset_kernel: odd; of the last convolution that predicts offsets.
        offset_range: the largest offset, in pixels of the output.
        position_bias: add a learned vector to the keys of each tap.

    Further arguments and errors: see :class:`Upsampler`; ``heads`` and ``groups`` must divide C / reduction. Positions
    follow the published code: corners aligned, zeros outside the map.
    """

    parts = (Part("offsets", ("offset.*",)), Part("embedding", ("query.*", "key.*")))

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        reduction: int = 4,
        heads: int = 1,
        groups: int = 2,
        kernel_size: int = 3,
        offset_kernel: int = 3,
        offset_range: float = 11,
        position_bias: bool = True,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        width = in_channels // reduction
        if width < 1:
            raise ValueError(f"LDAAQU: reduction must be at most in_channels={in_channels}, got {reduction}")
        self.heads, self.groups = heads, dividing_groups("LDAAQU", groups, width, of="in_channels / reduction")
        dividing_groups("LDAAQU", heads, width, "heads", "in_channels / reduction")
        dividing_groups("LDAAQU", heads, in_channels, "heads")
        dividing_groups("LDAAQU", groups, in_channels)
        self.kernel_size = odd_kernel("LDAAQU", kernel_size)
        self.offset_range = offset_range
        taps = kernel_size**spatial_dims
        self.norm = nn.LayerNorm(in_channels)
        self.query = conv(spatial_dims, in_channels, width, bias=False)
        self.key = conv(spatial_dims, in_channels, width, bias=False)
        self.offset = Offsets(
            spatial_dims, width // groups, spatial_dims * taps, odd_kernel("LDAAQU", offset_kernel, "offset_kernel")
        )
        self.bias = nn.Parameter(torch.empty(heads, taps, width // heads)) if position_bias else None
        if self.bias is not None:
            nn.init.trunc_normal_(self.bias, std=0.02)
        for layer in (self.query, self.key):
            nn.init.xavier_uniform_(layer.weight)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        normed = _over_channels(self.norm, x)
        query = self._query(normed, size)
        positions = self._positions(query, tuple(x.shape[2:]))
        scale = (query.shape[1] // self.heads) ** -0.5
        out = sampled_attention(query, self.key(normed), x, positions, self.heads, scale, self.bias)
        return Upsampled(out, guide)

    def offset_field(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        size = self.output_size(x, guide)
        query = self._query(_over_channels(self.norm, x), size)
        shifts = self._shifts(query)  # in pixels of the output
        ratio = torch.tensor([n / out for n, out in zip(x.shape[2:], size, strict=True)], device=x.device)
        scaled = shifts * along_axis(ratio, 0, self.spatial_dims + 1).to(shifts.dtype)
        return scaled.flatten(1, 2).transpose(1, 2).flip(1)

    def _query(self, normed: Tensor, size: tuple[int, ...]) -> Tensor:
        query: Tensor = self.query(normed)
        if not query.numel():  # torch cannot interpolate an empty batch; the sum keeps the graph
            return query.new_zeros(*query.shape[:2], *size) + query.sum()
        wide = query.to(wide_dtype(query.dtype))
        mode = LINEAR_MODES[self.spatial_dims]
        return F.interpolate(wide, size=size, mode=mode, align_corners=True).to(query.dtype)

    def _shifts(self, query: Tensor) -> Tensor:
        """Predicted offsets [B, G, taps, d, *out] in pixels of the output, the first axis first."""
        raw = self.offset(query.unflatten(1, (self.groups, -1)).flatten(0, 1))
        shifts = self.offset_range * torch.tanh(raw.to(wide_dtype(raw.dtype)))
        return shifts.unflatten(0, (-1, self.groups)).unflatten(2, (-1, self.spatial_dims))

    def _positions(self, query: Tensor, n_in: tuple[int, ...]) -> list[Tensor]:
        shifts = self._shifts(query)
        radius = self.kernel_size // 2
        positions = []
        for tap, window in enumerate(product(range(-radius, radius + 1), repeat=self.spatial_dims)):
            axes = []
            for axis, (small, large) in enumerate(zip(n_in, query.shape[2:], strict=True)):
                grid = torch.arange(large, device=query.device, dtype=shifts.dtype) + window[axis]
                shifted = shifts[:, :, tap, axis] + along_axis(grid, axis, self.spatial_dims)
                axes.append(shifted * ((small - 1) / max(1, large - 1)))
            positions.append(torch.stack(axes, 2))
        return positions


class Offsets(nn.Module):
    """Depthwise 3x3 convolution, layer norm, GELU, convolution to the offsets, which are 0 at first."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = conv(spatial_dims, in_channels, in_channels, 3, bias=False, groups=in_channels)
        self.norm = nn.LayerNorm(in_channels)
        self.predict = conv(spatial_dims, in_channels, out_channels, kernel_size)
        nn.init.xavier_uniform_(self.depthwise.weight)
        nn.init.zeros_(self.predict.weight)
        assert self.predict.bias is not None
        nn.init.zeros_(self.predict.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.predict(F.gelu(_over_channels(self.norm, self.depthwise(x))))
        return out


def _over_channels(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    out: Tensor = norm(x.movedim(1, -1)).movedim(-1, 1)
    return out
