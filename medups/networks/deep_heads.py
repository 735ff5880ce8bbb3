"""Deep supervision: logits of a decoder's coarser maps, computed in training mode only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medups.upsamplers.layers import conv


class DeepHeads(nn.ModuleList):
    """One head per coarser map; none without deep supervision.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the maps, finest to coarsest.
        out_channels: classes, background included.
    """

    def __init__(self, spatial_dims: int, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__(conv(spatial_dims, channels, out_channels) for channels in in_channels)

    def forward(self, logits: Tensor, maps: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """``logits``; in training mode with heads, a list of ``logits`` and each map's [B, out_channels, *size]."""
        if not (self.training and len(self)):
            return logits
        return [logits, *(head(x) for head, x in zip(self, maps, strict=True))]
