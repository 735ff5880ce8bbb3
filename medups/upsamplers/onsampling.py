"""Onsampling: offset coordinate neighborhood weighted upsampling (Swin DER, arXiv 2410.04128)."""

from __future__ import annotations

from itertools import product
from math import prod

import torch
from torch import Tensor, nn

from medups.ops import sample_offsets
from medups.ops.dtypes import wide_dtype
from medups.upsamplers.base import Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import conv, odd_kernel, pixel_shuffle, read_nearest, whole_scale

_STATIC_SCOPE = 0.25
_DYNAMIC_SCOPE = 0.5
_EPS = 1e-5


class Onsampling(Upsampler):
    """Each output pixel reads the corners of a box, two pixels wide, around a predicted position; reads no guide.

    Args:
        compressed_channels: channels that the weights of the corners are predicted from.
        encoder_kernel: odd; of the convolution that predicts the weights.
        dynamic_scope: also predict how far positions may move, as in Swin DER.

    Further arguments and errors: see :class:`Upsampler`; scale factors must be whole numbers. The published code is
    3-D, and mixes the samples of a batch; this equals it for one sample. The logits of the weights are normalized over
    the whole map, so that a result depends on all of it.
    """

    parts = (Part("kernels", ("encode.*",)), Part("offsets", ("offset.*", "scope.*")))

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        compressed_channels: int = 64,
        encoder_kernel: int = 3,
        dynamic_scope: bool = False,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        self.scale = whole_scale(self)
        maps, corners = prod(self.scale), 2**spatial_dims
        kernel = odd_kernel("Onsampling", encoder_kernel, "encoder_kernel")
        # norms follow, which cancel a bias
        self.compress = conv(spatial_dims, in_channels, compressed_channels, bias=False)
        self.encode = conv(spatial_dims, compressed_channels, corners * maps, kernel, bias=False)
        self.offset = conv(spatial_dims, in_channels, spatial_dims * maps)
        self.scope = conv(spatial_dims, in_channels, spatial_dims * maps) if dynamic_scope else None
        nn.init.normal_(self.offset.weight, std=0.001)
        for layer in (self.offset, self.scope):
            if layer is not None:
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        if self.scope is not None:
            nn.init.zeros_(self.scope.weight)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        hidden = torch.relu(_normed(self.compress(x)))
        logits = _normed(self.encode(hidden))
        weights = read_nearest(pixel_shuffle(logits, self.scale), size).softmax(1)
        offsets = self._offsets(x, size)
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for corner, shift in enumerate(product((-1, 1), repeat=self.spatial_dims)):
            moved = offsets + offsets.new_tensor(shift).reshape(-1, *[1] * self.spatial_dims)
            total = total + weights[:, corner, None].to(x.dtype) * sample_offsets(x, moved)
        return Upsampled(total, guide)

    def offset_field(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        return self._offsets(x, self.output_size(x, guide))[:, :, None]

    def _offsets(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """[B, d, *out] in pixels of the deep map, its last axis first."""
        offsets = self.offset(x)
        if self.scope is None:
            offsets = offsets * _STATIC_SCOPE
        else:
            offsets = offsets * torch.sigmoid(self.scope(x)) * _DYNAMIC_SCOPE
        return read_nearest(pixel_shuffle(offsets.to(wide_dtype(x.dtype)), self.scale), size)


def _normed(x: Tensor) -> Tensor:
    """Instance norm without parameters, which also accepts a map of one pixel."""
    return torch.group_norm(x, x.shape[1], eps=_EPS)
