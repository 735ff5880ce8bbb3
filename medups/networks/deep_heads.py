"""Deep supervision: logits of a decoder's coarser maps, which only training asks for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medups.upsamplers.parts import conv


class DeepHeads(nn.ModuleList):
    """A head for each of the coarser maps; none without deep supervision.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the maps, from the finest to the coarsest.
        out_channels: classes, background included.
    """

    def __init__(self, spatial_dims: int, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__(conv(spatial_dims, channels, out_channels) for channels in in_channels)

    def forward(self, logits: Tensor, maps: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """``logits`` alone, or while training with heads a list of them and of each map's [B, out_channels, *size]."""
        if not (self.training and len(self)):
            return logits
        return [logits, *(head(x) for head, x in zip(self, maps, strict=True))]
