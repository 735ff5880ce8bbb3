"""Upsampling that looks at no guide: interpolation, transposed convolution, pixel shuffle."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.ops.grid import LINEAR_MODES, resize_linear
from medups.upsamplers.base import Scale, Upsampled, Upsampler
from medups.upsamplers.parts import conv, odd_kernel, pixel_shuffle, read_nearest, whole_scale

Mode = Literal["nearest", "linear", "cubic"]


class Interpolate(Upsampler):
    """Nearest, linear or cubic interpolation, the guide giving only the size.

    Args:
        mode: ``nearest`` reads at ``floor(p * in / out)``; ``linear`` is bilinear in 2-D and trilinear in 3-D;
            ``cubic`` is torch's bicubic, along one axis after another.
        align_corners: place the corner pixels' centres on each other (TransUNet's published decoder) instead of
            the image borders. Not for ``nearest``.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        mode: Mode = "linear",
        align_corners: bool = False,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        if mode not in ("nearest", "linear", "cubic"):
            raise ValueError(f"Interpolate: mode must be 'nearest', 'linear' or 'cubic', got {mode!r}")
        if align_corners and mode == "nearest":
            raise ValueError("Interpolate: align_corners needs mode 'linear' or 'cubic', got 'nearest'")
        self.mode = mode
        self.align_corners = align_corners

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        if not x.numel():
            return Upsampled(x.new_zeros(*x.shape[:2], *size) + x.sum(), guide)  # the sum keeps it in the graph
        if self.mode == "nearest":
            return Upsampled(read_nearest(x, size), guide)
        if self.mode == "linear" and not self.align_corners:
            return Upsampled(resize_linear(x, size), guide)
        if self.mode == "linear":
            mode = LINEAR_MODES[self.spatial_dims]
            return Upsampled(F.interpolate(x, size=size, mode=mode, align_corners=True), guide)
        return Upsampled(_cubic(x, size, self.align_corners), guide)


class TransposedConv(Upsampler):
    """Transposed convolution whose kernel is its stride, resized linearly where the guide wants another size."""

    def __init__(
        self, spatial_dims: int, in_channels: int, guide_channels: int | None = None, scale_factor: Scale = 2
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        make = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[spatial_dims]
        scale = whole_scale(self)
        self.conv = make(in_channels, in_channels, scale, stride=scale)  # type: ignore[arg-type]  # d numbers

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        return Upsampled(resize_linear(self.conv(x), size), guide)


class PixelShuffle(Upsampler):
    """Sub-pixel convolution (arXiv 1609.05158), resized linearly where the guide wants another size.

    The weights start the same for all pixels of a block (ICNR), so that no checkerboard is there at first.

    Args:
        kernel_size: odd, of the convolution before the shuffle.
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


def _cubic(x: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
    """Bicubic along each axis in turn; torch's own kernel on rows."""
    for axis, out in enumerate(size):
        shape = x.shape
        rows = x.reshape(shape[0], prod(shape[1 : 2 + axis]), shape[2 + axis], prod(shape[3 + axis :]))
        rows = F.interpolate(rows, size=(out, rows.shape[3]), mode="bicubic", align_corners=align_corners)
        x = rows.reshape(*shape[: 2 + axis], out, *shape[3 + axis :])
    return x
