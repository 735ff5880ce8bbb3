"""What detectors of mmdetection compute differently from torchvision's, for its weights.

Anchors are not rounded to whole pixels. The features of a box take pixel centers into account, and as many samples as
the box has pixels. Detectors with CARAFE and FreqFusion have a fifth level in the pyramid; others, like torchvision's,
take every second pixel of the fourth.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medups.networks.pictures.libraries import library

RATIOS = (0.5, 1.0, 2.0)
_CANONICAL = 56  # pixels: boxes from this side on use the second map, from twice that the third
_COARSEST = "pool"  # torchvision's name of the fifth map


def use_conventions(detector: Any, sides: Sequence[float]) -> None:
    """Give torchvision's detector the anchors and the pooling of regions; ``sides`` are the anchors' for each map."""
    detector.rpn.anchor_generator.cell_anchors = anchors(sides)
    detector.roi_heads.box_roi_pool = RegionPooling(7)
    if detector.roi_heads.has_mask():
        detector.roi_heads.mask_roi_pool = RegionPooling(14)


def anchors(sides: Sequence[float]) -> list[Tensor]:
    """For each map, boxes [3, 4] around 0 with that area and a height of :data:`RATIOS` times the width."""
    roots = torch.tensor(RATIOS).sqrt()
    return [torch.stack([-1 / roots, -roots, 1 / roots, roots], 1) * side / 2 for side in sides]


class RegionPooling(nn.Module):
    """Features of boxes from the map that fits the box, with the interface of torchvision's ``MultiScaleRoIAlign``.

    Args:
        bins: height and width of the result.
        strides: of the maps, finest first.
    """

    def __init__(self, bins: int, strides: Sequence[int] = (4, 8, 16, 32)) -> None:
        super().__init__()
        self.output_size = (bins, bins)
        self.strides = tuple(strides)

    def forward(self, maps: Mapping[str, Tensor], boxes: Sequence[Tensor], sizes: Sequence[Any]) -> Tensor:
        """Features [K, C, bins, bins] of the boxes [N, 4] of every picture, in their order."""
        del sizes
        pool = library("torchvision.ops").roi_align
        pictures = torch.cat([box.new_full((len(box), 1), number) for number, box in enumerate(boxes)])
        joined = torch.cat(list(boxes))
        rois = torch.cat([pictures, joined], 1)
        side = ((joined[:, 2] - joined[:, 0]) * (joined[:, 3] - joined[:, 1])).sqrt()
        levels = (side / _CANONICAL + 1e-6).log2().floor().clamp(0, len(self.strides) - 1)
        features = list(maps.values())
        out = features[0].new_zeros(len(rois), features[0].shape[1], *self.output_size)
        for level, stride in enumerate(self.strides):
            chosen = (levels == level).nonzero()[:, 0]
            values = pool(features[level], rois[chosen], self.output_size, 1 / stride, 0, True)
            out = out.index_put((chosen,), values.to(out.dtype))
        return out


def add_fifth_level(pyramid: Any, channels: int, width: int) -> None:
    """Give torchvision's ``BackboneWithFPN`` a fifth level, from a convolution of the encoder's last map."""
    pyramid.fpn.extra_blocks = None
    pyramid.fpn.inner_blocks.append(nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1)))
    pyramid.fpn.layer_blocks.append(nn.Sequential(nn.Conv2d(width, width, 3, 1, 1)))
    pyramid.body.register_forward_hook(_repeat_last)


def _repeat_last(module: nn.Module, inputs: Any, maps: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    del module, inputs
    return OrderedDict([*maps.items(), (_COARSEST, list(maps.values())[-1])])
