"""Upsampling that looks at no content: interpolation."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from medups.ops.grid import LINEAR_MODES
from medups.upsamplers.base import Scale, Upsampled, Upsampler

Mode = Literal["nearest", "linear"]


class Interpolate(Upsampler):
    """Nearest or linear interpolation, the guide giving only the size.

    Args:
        mode: ``nearest`` or ``linear`` (bilinear in 2-D, trilinear in 3-D).
        align_corners: place the corner pixels' centres on each other (TransUNet's published decoder) instead of
            the image borders. Linear only.
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
        if mode not in ("nearest", "linear"):
            raise ValueError(f"Interpolate: mode must be 'nearest' or 'linear', got {mode!r}")
        if align_corners and mode == "nearest":
            raise ValueError("Interpolate: align_corners needs mode 'linear', got 'nearest'")
        self.mode = mode
        self.align_corners = align_corners

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        if self.mode == "nearest":
            return Upsampled(F.interpolate(x, size=size, mode="nearest"), guide)
        mode = LINEAR_MODES[self.spatial_dims]
        return Upsampled(F.interpolate(x, size=size, mode=mode, align_corners=self.align_corners), guide)
