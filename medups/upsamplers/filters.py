"""Learned filters that do not depend on position: transposed convolution and pixel shuffle."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from medups.ops.resizing import resize_linear
from medups.upsamplers.base import Scale, Upsampled, Upsampler
from medups.upsamplers.layers import conv, odd_kernel, pixel_shuffle, whole_scale


class TransposedConv(Upsampler):
    """Transposed convolution with its stride as kernel size, resized linearly if the guide has another size."""

    def __init__(
        self, spatial_dims: int, in_channels: int, guide_channels: int | None = None, scale_factor: Scale = 2
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        conv_class = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[spatial_dims]
        scale = whole_scale(self)
        self.conv = conv_class(in_channels, in_channels, scale, stride=scale)  # type: ignore[arg-type]  # d numbers

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        return Upsampled(resize_linear(self.conv(x), size), guide)


class PixelShuffle(Upsampler):
    """Sub-pixel convolution (arXiv 1609.05158), resized linearly if the guide has another size.

    Weights are initialized identically for all pixels of a block (ICNR), which avoids initial checkerboard artifacts.

    Args:
        kernel_size: odd; kernel size of the convolution before the shuffle.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        kernel_size: int = 3,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        self.scale = whole_scale(self)
        pixels = prod(self.scale)
        self.conv = conv(spatial_dims, in_channels, in_channels * pixels, odd_kernel("PixelShuffle", kernel_size))
        with torch.no_grad():
            self.conv.weight.copy_(self.conv.weight[::pixels].repeat_interleave(pixels, 0))

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        return Upsampled(resize_linear(pixel_shuffle(self.conv(x), self.scale), size), guide)
