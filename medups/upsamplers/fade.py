"""FADE: Fusing the Assets of Decoder and Encoder (arXiv 2207.10392)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medups.ops import reassemble
from medups.upsamplers.base import Kernels, Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import add_nearest, channels_last, conv, odd_kernel, read_nearest


class FADE(Upsampler):
    """Predicts kernels from guide and deep map; a gate mixes in guide features where detail is needed.

    Args:
        kernel_size: odd.
        embed_channels: channels that kernels are predicted from.
        lite: compress directly to the taps and encode each one separately; ``embed_channels`` is unused.

    Further arguments and errors: see :class:`Upsampler`. The gate mixes guide and deep map, so
    ``guide_channels`` must equal ``in_channels``.
    """

    needs_guide = True
    equal_channels = True
    parts = (Part("kernels", ("encode.*",)),)

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        kernel_size: int = 5,
        embed_channels: int = 64,
        lite: bool = False,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        assert guide_channels is not None  # checked by the base
        if guide_channels != in_channels:
            raise ValueError(
                f"FADE: guide_channels must equal in_channels={in_channels}, got {guide_channels}; project the guide"
            )
        self.kernel_size = odd_kernel("FADE", kernel_size)
        taps = kernel_size**spatial_dims
        width = taps if lite else embed_channels
        self.gate = conv(spatial_dims, in_channels, 1)
        self.compress_guide = conv(spatial_dims, guide_channels, width)
        self.compress = conv(spatial_dims, in_channels, width, bias=False)
        self.encode = conv(spatial_dims, width, taps, 3, groups=taps if lite else 1)
        for layer in (self.gate, self.compress_guide, self.compress):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.encode.weight, std=0.001)
        assert self.encode.bias is not None
        nn.init.zeros_(self.encode.bias)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        assert guide is not None  # checked by the base
        logits = self._logits(x, guide)
        gate = torch.sigmoid(read_nearest(self.gate(x), size))
        mixed = reassemble(x, logits[:, None], kernel_size=self.kernel_size, softmax=True)
        del logits  # frees memory
        return Upsampled(torch.lerp(mixed, guide.to(mixed.dtype), gate.to(mixed.dtype)), guide)

    def kernels(self, x: Tensor, guide: Tensor | None = None) -> dict[str, Kernels]:
        assert guide is not None
        logits = self._logits(x, guide)[:, None]
        return {"kernel": Kernels(logits, self.kernel_size, "nearest", tuple(x.shape[2:]))}

    def _logits(self, x: Tensor, guide: Tensor) -> Tensor:
        return add_nearest(self._encoded(self.compress_guide(guide)), self._encoded(self.compress(x)))

    def _encoded(self, compressed: Tensor) -> Tensor:
        logits: Tensor = self.encode(channels_last(compressed))
        return logits
