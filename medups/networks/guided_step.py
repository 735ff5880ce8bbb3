"""One decoder step: project the deep map, upsample it by a guide, fuse it with the guide that comes back."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Join = Literal["concat", "add", "none"]

IMAGE_GUIDE_CHANNELS = 16
"""Of the guide that is made of the image where a step has no skip."""


class GuidedStep(nn.Module):
    """``fuse(join(norm(upsample(project(x), guide)), returned guide))``.

    Args:
        upsampler: any of the library's, or a module called like them; where it refines its guide, the refined one
            is fused.
        fuse: module from the concatenated channels to the step's output.
        project: module on the deep map before upsampling.
        norm: module on the upsampled map.
        join: how the returned guide is joined to the upsampled map before ``fuse``, ``concat``, ``add`` or ``none``;
            no effect without a guide.
    """

    def __init__(
        self,
        upsampler: nn.Module,
        fuse: nn.Module,
        *,
        project: nn.Module | None = None,
        norm: nn.Module | None = None,
        join: Join = "concat",
    ) -> None:
        super().__init__()
        self.project = project if project is not None else nn.Identity()
        self.upsampler = upsampler
        self.norm = norm if norm is not None else nn.Identity()
        self.fuse = fuse
        self.join = join

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """x [B, C, *in], guide [B, Cg, *out] or None -> [B, C', *out]."""
        up = self.upsampler(self.project(x), guide)
        x = self.norm(up.x)
        if up.guide is not None and self.join == "concat":
            x = torch.cat([x, up.guide], 1)
        elif up.guide is not None and self.join == "add":
            x = x + up.guide
        return self.fuse(x)


def conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU: what decoders fuse with, and what makes a guide of an image."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )
