"""CARAFE: Content-Aware ReAssembly of FEatures (arXiv 1905.02188)."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from medups.ops import reassemble
from medups.upsamplers.base import Scale, Upsampled, Upsampler
from medups.upsamplers.parts import conv, dividing_groups, odd_kernel, pixel_shuffle, read_nearest, whole_scale


class CARAFE(Upsampler):
    """Kernels predicted from the deep map alone, one for each output pixel.

    Args:
        kernel_size: of the reassembly, odd.
        groups: of channels that have kernels of their own.
        compressed_channels: channels that kernels are predicted from.

    Further arguments and errors: see :class:`Upsampler`; scale factors must be whole. At another ratio the
    kernels of the declared one are read at the nearest place.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        kernel_size: int = 5,
        groups: int = 1,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        self.kernel_size = odd_kernel("CARAFE", kernel_size)
        self.groups = dividing_groups("CARAFE", groups, in_channels)
        self.scale = whole_scale(self)
        taps = kernel_size**spatial_dims
        self.compress = conv(spatial_dims, in_channels, compressed_channels)
        self.encode = conv(spatial_dims, compressed_channels, taps * groups * prod(self.scale), 3)
        nn.init.xavier_uniform_(self.compress.weight)
        nn.init.normal_(self.encode.weight, std=0.001)
        for layer in (self.compress, self.encode):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        logits = read_nearest(pixel_shuffle(self.encode(self.compress(x)), self.scale), size)
        logits = logits.unflatten(1, (self.groups, -1))
        return Upsampled(reassemble(x, logits, kernel_size=self.kernel_size, softmax=True), guide)
