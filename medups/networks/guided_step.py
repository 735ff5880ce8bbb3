"""One decoder step: project the deep map, upsample it by a guide, fuse it with the guide that comes back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medups.upsamplers import Upsampler


class GuidedStep(nn.Module):
    """``fuse(concat(upsample(project(x), guide), returned guide))``.

    Args:
        upsampler: any of the library's; where it refines its guide, the refined one is fused.
        fuse: module from the concatenated channels to the step's output.
        project: module on the deep map before upsampling.
        concat: join the returned guide to the upsampled map before ``fuse``; no effect without a guide.
    """

    def __init__(
        self, upsampler: Upsampler, fuse: nn.Module, *, project: nn.Module | None = None, concat: bool = True
    ) -> None:
        super().__init__()
        self.project = project if project is not None else nn.Identity()
        self.upsampler = upsampler
        self.fuse = fuse
        self.concat = concat

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """x [B, C, *in], guide [B, Cg, *out] or None -> [B, C', *out]."""
        up = self.upsampler(self.project(x), guide)
        joined = up.x if up.guide is None or not self.concat else torch.cat([up.x, up.guide], 1)
        return self.fuse(joined)
