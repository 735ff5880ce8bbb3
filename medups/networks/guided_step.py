"""One decoder step: project the deep map, upsample it by a guide, fuse it with the returned guide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.upsamplers import Upsampled, create_upsampler, upsampler_class
from medups.upsamplers.base import Scale, Upsampler
from medups.upsamplers.layers import conv

Join = Literal["concat", "guide_first", "add", "none"]

IMAGE_GUIDE_CHANNELS = 16
"""Channels of the guide that is computed from the image for a step without a skip."""


class Start(nn.Module):
    """Begins as the step that was replaced, and learns how much of the new upsampler to use.

    The enlarged map is ``old + share * (new - old)``, channel by channel. The share is 0 at first, so that the output
    does not change; with a share of 1 it is the new upsampler's output. The same holds for a refined guide.

    Args:
        replaced: the module that enlarged the map before: one of this library's, or a module called with the map only.
        channels: channels of the enlarged map.
        guide_channels: channels of the guide if the upsampler refines it; None if it does not.
        projected: ``replaced`` reads the projected map.
        like: a tensor with the device and dtype of the network's parameters.
    """

    def __init__(
        self,
        replaced: nn.Module,
        spatial_dims: int,
        channels: int,
        guide_channels: int | None,
        projected: bool,
        like: Tensor,
    ) -> None:
        super().__init__()
        self.replaced = replaced
        self.projected = projected
        self.share = nn.Parameter(like.new_zeros(channels, *[1] * spatial_dims))
        self.guide_share: nn.Parameter | None = None
        if guide_channels is not None:
            self.guide_share = nn.Parameter(like.new_zeros(guide_channels, *[1] * spatial_dims))

    def forward(self, x: Tensor, guide: Tensor | None, new: Upsampled) -> Upsampled:
        """``x`` as before the replaced module, ``new`` from the upsampler."""
        old = self.replaced(x, guide).x if isinstance(self.replaced, Upsampler | ProjectedGuide) else self.replaced(x)
        missing = [wanted - n for wanted, n in zip(new.x.shape[2:], old.shape[2:], strict=True)]
        if any(missing):  # at the end, as in MONAI's blocks for skips of odd sizes
            old = F.pad(old, [n for count in reversed(missing) for n in (0, count)], mode="replicate")
        refined = new.guide
        if self.guide_share is not None and refined is not None and guide is not None:
            refined = guide + self.guide_share * (refined - guide)
        return Upsampled(old + self.share * (new.x - old), refined)


class GuidedStep(nn.Module):
    """``fuse(join(norm(upsample(project(x), guide)), returned guide))``.

    Args:
        upsampler: one of this library's, or a module with the same interface; if it refines its guide, the refined
            guide is fused.
        fuse: module applied to the joined maps; its output is the step's output.
        project: module applied to the deep map before upsampling.
        norm: module applied to the upsampled map.
        join: how the returned guide is joined to the upsampled map before ``fuse``: ``concat``, ``guide_first`` (the
            reverse order), ``add``, ``none``, or a module called with both. No effect without a guide.

    Attributes:
        start: what the step begins as, or None; see :class:`Start`.
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
        self.start: Start | None = None

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """x [B, C, *in], guide [B, Cg, *out] or None -> [B, C', *out]."""
        return self.refined(x, guide).x

    def refined(self, x: Tensor, guide: Tensor | None) -> Upsampled:
        """The step's output, and the guide that the upsampler returned."""
        projected = self.project(x)
        up = self.upsampler(projected, guide)
        if self.start is not None:
            up = self.start(projected if self.start.projected else x, guide, up)
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
    """An upsampler behind a 1x1 projection of its guide; returns the original guide."""

    def __init__(self, upsampler: nn.Module, project: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.upsampler = upsampler
        self.project = project

    def forward(self, x: Tensor, guide: Tensor) -> Upsampled:
        return Upsampled(self.upsampler(x, self.project(guide)).x, guide)


def reads_guide(upsampler: nn.Module) -> bool:
    """Whether a step's upsampler needs a guide; modules without ``needs_guide`` are assumed to need one."""
    return bool(getattr(upsampler, "needs_guide", True))


def step_upsampler(
    name: str, spatial_dims: int, channels: int, guide_channels: int | None, ratio: Scale, options: Mapping[str, Any]
) -> nn.Module:
    """The upsampler ``name`` for a guide of any width, with a 1x1 projection if the method needs equal channels."""

    def create(width: int | None) -> nn.Module:
        return create_upsampler(
            name,
            spatial_dims=spatial_dims,
            in_channels=channels,
            guide_channels=width,
            scale_factor=ratio,
            **options,
        )

    if guide_channels is None or guide_channels == channels or not upsampler_class(name).equal_channels:
        return create(guide_channels)
    return ProjectedGuide(create(channels), conv(spatial_dims, guide_channels, channels))


def image_stem(spatial_dims: int, image_channels: int) -> nn.Sequential:
    """A guide of :data:`IMAGE_GUIDE_CHANNELS` from an image: 3x3 convolution, instance norm, ReLU."""
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[spatial_dims]
    convolution = conv(spatial_dims, image_channels, IMAGE_GUIDE_CHANNELS, 3, bias=False)
    return nn.Sequential(convolution, norm(IMAGE_GUIDE_CHANNELS, affine=True), nn.ReLU())


def conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU: fuses maps in decoders, and computes a guide from an image."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )
