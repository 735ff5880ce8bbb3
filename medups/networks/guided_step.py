"""One decoder step: project the deep map, upsample it by a guide, fuse it with the guide that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medups.upsamplers import Upsampled, create_upsampler, upsampler_class
from medups.upsamplers.base import Scale
from medups.upsamplers.parts import conv

Join = Literal["concat", "guide_first", "add", "none"]

IMAGE_GUIDE_CHANNELS = 16
"""Of the guide that is made of the image where a step has no skip."""


class GuidedStep(nn.Module):
    """``fuse(join(norm(upsample(project(x), guide)), returned guide))``.

    Args:
        upsampler: any of the library's, or a module called like them; where it refines its guide, the refined one
            is fused.
        fuse: module from the joined channels to the step's output.
        project: module on the deep map before upsampling.
        norm: module on the upsampled map.
        join: how the returned guide is joined to the upsampled map before ``fuse``: ``concat``, ``guide_first`` (the
            same in the other order), ``add``, ``none``, or a module called with both; no effect without a guide.
    """

    def __init__(
        self,
        upsampler: nn.Module,
        fuse: nn.Module | None = None,
        *,
        project: nn.Module | None = None,
        norm: nn.Module | None = None,
        join: Join | nn.Module = "concat",
    ) -> None:
        super().__init__()
        self.project = project if project is not None else nn.Identity()
        self.upsampler = upsampler
        self.norm = norm if norm is not None else nn.Identity()
        self.join = join
        self.fuse = fuse if fuse is not None else nn.Identity()

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """x [B, C, *in], guide [B, Cg, *out] or None -> [B, C', *out]."""
        return self.refined(x, guide).x

    def refined(self, x: Tensor, guide: Tensor | None) -> Upsampled:
        """The step's output, and the guide that the upsampler handed back."""
        up = self.upsampler(self.project(x), guide)
        x = self.norm(up.x)
        if up.guide is not None:
            x = self._joined(x, up.guide)
        return Upsampled(self.fuse(x), up.guide)

    def _joined(self, x: Tensor, guide: Tensor) -> Tensor:
        if isinstance(self.join, nn.Module):
            joined: Tensor = self.join(x, guide)
            return joined
        if self.join == "concat":
            return torch.cat([x, guide], 1)
        if self.join == "guide_first":
            return torch.cat([guide, x], 1)
        return x + guide if self.join == "add" else x


class ProjectedGuide(nn.Module):
    """An upsampler whose guide must have as many channels as the map; hands back the guide as it came."""

    def __init__(self, upsampler: nn.Module, project: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.upsampler = upsampler
        self.project = project

    def forward(self, x: Tensor, guide: Tensor) -> Upsampled:
        return Upsampled(self.upsampler(x, self.project(guide)).x, guide)


def reads_guide(upsampler: nn.Module) -> bool:
    """Must a step's upsampler be given a guide? One that does not say is taken to."""
    return bool(getattr(upsampler, "needs_guide", True))


def step_upsampler(
    name: str, spatial_dims: int, channels: int, guide_channels: int | None, ratio: Scale, options: Mapping[str, Any]
) -> nn.Module:
    """The upsampler ``name`` for a guide of any channels: 1x1 projected where the method wants as many as the map."""

    def create(of_guide: int | None) -> nn.Module:
        return create_upsampler(
            name,
            spatial_dims=spatial_dims,
            in_channels=channels,
            guide_channels=of_guide,
            scale_factor=ratio,
            **options,
        )

    if guide_channels is None or guide_channels == channels or not upsampler_class(name).equal_channels:
        return create(guide_channels)
    return ProjectedGuide(create(channels), conv(spatial_dims, guide_channels, channels))


def conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU: what decoders fuse with, and what makes a guide of an image."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )
