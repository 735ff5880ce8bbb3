"""Losses that MONAI lacks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from medups.data.pictures import IGNORED


class PixelCrossEntropy(nn.Module):
    """Cross entropy of logits [B, K, h, w], enlarged linearly to the label, and channel numbers [B, 1, H, W].

    Ignored pixels do not count. The mean is over all pixels, ignored ones included, as in the published recipes.
    """

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        enlarged = F.interpolate(logits, label.shape[2:], mode="bilinear", align_corners=False)
        target = label[:, 0].long()
        losses = F.cross_entropy(enlarged, target, ignore_index=IGNORED, reduction="sum")
        return losses / max(1, target.numel())


class SumOfLosses(nn.Module):
    """The sum of the losses that a network computes itself, as detectors do."""

    reads_outputs = True

    def forward(self, losses: Mapping[str, Tensor], target: None = None) -> Tensor:
        del target
        return sum(losses.values(), start=next(iter(losses.values())).new_zeros(()))
