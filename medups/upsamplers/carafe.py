"""CARAFE: Content-Aware ReAssembly of FEatures (arXiv 1905.02188)."""

from __future__ import annotations

from itertools import product
from math import prod

from torch import Tensor, nn

from medups.ops import reassemble
from medups.ops.backend import inference_on_cpu
from medups.upsamplers.base import Kernels, Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import (
    channels_last,
    conv,
    dividing_groups,
    odd_kernel,
    pixel_shuffle,
    read_nearest,
    whole_scale,
)


class CARAFE(Upsampler):
    """Predicts one kernel per output pixel from the deep map only.

    Args:
        kernel_size: odd; size of the reassembly kernels.
        groups: groups of channels, each with its own kernels.
        compressed_channels: channels that kernels are predicted from.

    Further arguments and errors: see :class:`Upsampler`; scale factors must be whole numbers. If the guide
    requires another ratio, the kernels for ``scale_factor`` are read at the nearest position.
    """

    parts = (Part("kernels", ("encode.*",)),)

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
        logits = self._encoded(x)
        if inference_on_cpu(x, logits) and tuple(s * n for s, n in zip(self.scale, x.shape[2:], strict=True)) == size:
            return Upsampled(self._by_position(x, logits, size), guide)
        kernels = self._shuffled(logits, size)
        return Upsampled(reassemble(x, kernels, kernel_size=self.kernel_size, softmax=True), guide)

    def kernels(self, x: Tensor, guide: Tensor | None = None) -> dict[str, Kernels]:
        logits = self._shuffled(self._encoded(x), self.output_size(x, guide))
        return {"kernel": Kernels(logits, self.kernel_size, "nearest", tuple(x.shape[2:]))}

    def _encoded(self, x: Tensor) -> Tensor:
        logits: Tensor = self.encode(channels_last(self.compress(x)))
        return logits

    def _shuffled(self, logits: Tensor, size: tuple[int, ...]) -> Tensor:
        return read_nearest(pixel_shuffle(logits, self.scale), size).unflatten(1, (self.groups, -1))

    def _by_position(self, x: Tensor, logits: Tensor, size: tuple[int, ...]) -> Tensor:
        """Reassemble per position of the output pixel within its input pixel, without shuffling the logits."""
        out = x.new_empty(*x.shape[:2], *size)
        by_position = logits.unflatten(1, (self.groups, -1, prod(self.scale)))
        for number, position in enumerate(product(*map(range, self.scale))):
            pixels = tuple(slice(first, None, step) for first, step in zip(position, self.scale, strict=True))
            kernels = by_position[:, :, :, number]
            out[(slice(None), slice(None), *pixels)] = reassemble(
                x, kernels, kernel_size=self.kernel_size, softmax=True
            )
        return out
