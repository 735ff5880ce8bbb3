"""The local attender of UPLiFT (arXiv 2601.17950)."""

from __future__ import annotations

from itertools import product
from typing import Literal

import torch
from torch import Tensor

from medups.ops import reassemble
from medups.upsamplers.base import Kernels, Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import conv

Neighborhood = Literal["cross", "block3", "diamond", "star", "block5"]
_OUTSIDE = -1e4  # logits of the window's other pixels; also finite in half precision


class LocalAttender(Upsampler):
    """Weights of a fixed set of deep pixels around each output pixel, from a 1x1 convolution of the guide.

    Args:
        neighborhood: ``cross`` (5 pixels in 2-D, 7 in 3-D), ``block3`` (9, 27), ``diamond`` (13, 25), ``star``, a
            diamond and the corners of a block of 5 (17, 33; the published models), or ``block5`` (25, 125).
        residual: add the guide's first channels to the logits, as published.

    Further arguments and errors: see :class:`Upsampler`. Pixels beyond the border are its replicas.
    """

    needs_guide = True
    parts = (Part("kernels", ("encode.*",)),)

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        neighborhood: Neighborhood = "star",
        residual: bool = True,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        assert guide_channels is not None  # checked by the base
        self.kernel_size, self.taps = _taps(neighborhood, spatial_dims)
        self.residual = residual
        self.encode = conv(spatial_dims, guide_channels, len(self.taps))

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        assert guide is not None  # checked by the base
        window = self._window(guide).softmax(1)[:, None]
        return Upsampled(reassemble(x, window, kernel_size=self.kernel_size, border="replicate"), guide)

    def kernels(self, x: Tensor, guide: Tensor | None = None) -> dict[str, Kernels]:
        assert guide is not None
        return {"kernel": Kernels(self._window(guide)[:, None], self.kernel_size, "nearest", tuple(x.shape[2:]))}

    def _window(self, guide: Tensor) -> Tensor:
        """Logits of all pixels of the window [B, kernel_size**d, *out]."""
        logits = self.encode(guide)
        if self.residual:
            shared = min(guide.shape[1], len(self.taps))
            logits = torch.cat([logits[:, :shared] + guide[:, :shared].to(logits.dtype), logits[:, shared:]], 1)
        empty = torch.full_like(logits[:, :1], _OUTSIDE)
        order = {tap: number for number, tap in enumerate(self.taps)}
        columns = range(self.kernel_size**self.spatial_dims)
        return torch.cat([logits[:, order[c] : order[c] + 1] if c in order else empty for c in columns], 1)


def _taps(neighborhood: str, dims: int) -> tuple[int, list[int]]:
    """The size of the window, and the positions in it that belong to the neighborhood, row by row."""

    def inside(offset: tuple[int, ...]) -> bool:
        length = sum(map(abs, offset))
        corner = all(abs(o) == 2 for o in offset)
        return {"cross": length <= 1, "diamond": length <= 2, "star": length <= 2 or corner}.get(neighborhood, True)

    radius = {"cross": 1, "block3": 1, "diamond": 2, "star": 2, "block5": 2}.get(neighborhood)
    if radius is None:
        raise ValueError(
            f"LocalAttender: neighborhood must be cross, block3, diamond, star or block5, got {neighborhood!r}"
        )
    window = product(range(-radius, radius + 1), repeat=dims)
    return 2 * radius + 1, [number for number, offset in enumerate(window) if inside(offset)]
