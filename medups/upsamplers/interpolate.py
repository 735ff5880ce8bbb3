"""Nearest, linear and cubic interpolation."""

from __future__ import annotations

from math import prod
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from medups.ops.grid import LINEAR_MODES
from medups.ops.resizing import resize_linear
from medups.upsamplers.base import Scale, Upsampled, Upsampler
from medups.upsamplers.layers import read_nearest

Mode = Literal["nearest", "linear", "cubic"]


class Interpolate(Upsampler):
    """Nearest, linear or cubic interpolation; the guide only sets the size.

    Args:
        mode: ``nearest`` reads at ``floor(p * in / out)``; ``linear`` is bilinear in 2-D and trilinear in 3-D;
            ``cubic`` is torch's bicubic, applied axis by axis.
        align_corners: align the centers of the corner pixels (TransUNet's published decoder) instead of the
            image borders. Invalid for ``nearest``.
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
            return Upsampled(x.new_zeros(*x.shape[:2], *size) + x.sum(), guide)  # the sum keeps x in the graph
        if self.mode == "nearest":
            return Upsampled(read_nearest(x, size), guide)
        if self.mode == "linear" and not self.align_corners:
            return Upsampled(resize_linear(x, size), guide)
        if self.mode == "linear":
            mode = LINEAR_MODES[self.spatial_dims]
            return Upsampled(F.interpolate(x, size=size, mode=mode, align_corners=True), guide)
        return Upsampled(_cubic(x, size, self.align_corners), guide)


def _cubic(x: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
    """Bicubic along each axis in turn, with torch's kernel on rows."""
    for axis, out in enumerate(size):
        shape = x.shape
        rows = x.reshape(shape[0], prod(shape[1 : 2 + axis]), shape[2 + axis], prod(shape[3 + axis :]))
        rows = F.interpolate(rows, size=(out, rows.shape[3]), mode="bicubic", align_corners=align_corners)
        x = rows.reshape(*shape[: 2 + axis], out, *shape[3 + axis :])
    return x
