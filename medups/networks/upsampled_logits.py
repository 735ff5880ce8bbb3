"""Upsampling class scores in place of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from medups.networks.guided_step import IMAGE_GUIDE_CHANNELS, image_stem, step_upsampler
from medups.upsamplers import upsampler_class


class UpsampledLogits(nn.Module):
    """Logits [B, out_channels, *size of the image] of a network that computes them at a fraction of the size.

    Args:
        network: from an image [B, in_channels, *size] to logits of a smaller size.
        out_channels: classes.
        ratio: the image's size over the logits'.
        upsampler, upsampler_options: any name of ``list_upsamplers()``, and its arguments; guided by a 3x3
            convolution of the image, if it reads a guide. None for linear interpolation.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.

    Raises:
        ValueError: an unknown upsampler, or one whose options do not fit the number of classes.
    """

    def __init__(
        self,
        network: nn.Module,
        out_channels: int,
        ratio: int = 4,
        upsampler: str | None = "resfu",
        upsampler_options: Mapping[str, Any] | None = None,
        spatial_dims: int = 2,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        upsampler = upsampler or "linear"
        self.network = network
        self.guide: nn.Module | None = None
        if upsampler_class(upsampler).needs_guide:
            self.guide = image_stem(spatial_dims, in_channels)
        channels = IMAGE_GUIDE_CHANNELS if self.guide is not None else in_channels
        self.upsampler = step_upsampler(
            upsampler, spatial_dims, out_channels, channels, ratio, dict(upsampler_options or {})
        )

    def forward(self, image: Tensor) -> Tensor:
        guide = image if self.guide is None else self.guide(image)  # sets the size, also for methods without a guide
        out: Tensor = self.upsampler(self.network(image), guide).x
        return out
