"""Detectors on a feature pyramid: torchvision's Faster and Mask R-CNN, and a panoptic FPN (arXiv 1901.02446).

:func:`medups.networks.swap_upsampling` finds the steps of the pyramid.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.networks.pictures import mmdetection
from medups.networks.pictures.libraries import library

VARIANTS = ("resnet50", "resnet101", "tiny")
CONVENTIONS = ("torchvision", "mmdetection")
_STRIDES = (4, 8, 16, 32, 64)
_TINY_WIDTHS = (24, 48, 64, 96)
IGNORED = 255
"""Pixels of a semantic target that do not count."""


class RCNN(nn.Module):
    """Losses in training; objects of every picture, and scores of the background if it has classes, in evaluation.

    Args:
        things: classes of objects.
        variant: ``resnet50`` or ``resnet101``, whose norms and first two stages keep their (ImageNet) weights as
            published; or ``tiny`` for trials from random weights.
        masks: predict the mask of each object (Mask R-CNN), not only its box (Faster R-CNN).
        stuff: classes of the background, for a panoptic FPN; 0 for none.
        width: channels of the pyramid; its heads have four times as many.
        short, long: pictures are resized until one of their sides has this many pixels, keeping the proportions.
        smallest: side of the anchors in the finest map; every coarser map has twice that.
        semantic_weight: of the background's loss.
        conventions: whose anchors and features of boxes, ``torchvision`` or ``mmdetection``; as in the weights.
        fifth_level: the map at 1/64 is a level of the pyramid, as in the released detectors with CARAFE and FreqFusion,
            and not every second pixel of the map at 1/32.

    Pictures are padded to a multiple of 32; with a fifth level or mmdetection's conventions to one of 64, so that the
    coarsest anchors are 64 pixels apart.

    Raises:
        ImportError: torchvision is not installed.
        ValueError: an unknown variant, or unknown conventions.
    """

    def __init__(
        self,
        things: int,
        variant: str = "resnet50",
        masks: bool = True,
        stuff: int = 0,
        width: int = 256,
        short: int = 800,
        long: int = 1333,
        smallest: int = 32,
        semantic_weight: float = 0.5,
        conventions: str = "torchvision",
        fifth_level: bool = False,
    ) -> None:
        super().__init__()
        for what, name, known in (("variant", variant, VARIANTS), ("conventions", conventions, CONVENTIONS)):
            if name not in known:
                raise ValueError(f"RCNN: unknown {what} {name!r}; expected one of {', '.join(known)}")
        library("torchvision")
        detection = library("torchvision.models.detection")
        sides = [smallest * 2**level for level in range(len(_STRIDES))]
        per_map = [(side,) for side in sides], (mmdetection.RATIOS,) * len(sides)
        settings: dict[str, Any] = {
            "min_size": short, "max_size": long, "image_mean": [0.0] * 3, "image_std": [1.0] * 3,
            "size_divisible": 64 if fifth_level or conventions == "mmdetection" else 32,
            "rpn_anchor_generator": detection.anchor_utils.AnchorGenerator(*per_map),
            "box_head": detection.faster_rcnn.TwoMLPHead(width * 7**2, 4 * width),
            "box_predictor": detection.faster_rcnn.FastRCNNPredictor(4 * width, things + 1),
        }  # fmt: skip
        if variant == "tiny":  # pictures of 100 pixels need fewer candidates
            settings |= {f"rpn_{part}_nms_top_n_{mode}": 300 for part in ("pre", "post") for mode in ("train", "test")}
            settings |= {"rpn_batch_size_per_image": 64, "box_batch_size_per_image": 64}
        if masks:
            settings["mask_head"] = detection.mask_rcnn.MaskRCNNHeads(width, (width,) * 4, 1)
            settings["mask_predictor"] = detection.mask_rcnn.MaskRCNNPredictor(width, width, things + 1)
        create = detection.MaskRCNN if masks else detection.FasterRCNN
        self.detector = create(_backbone(variant, width, detection, fifth_level), **settings)
        if conventions == "mmdetection":
            mmdetection.use_conventions(self.detector, sides)
        self.semantic = SemanticHead(width, stuff + 1) if stuff else None
        self.semantic_weight = semantic_weight
        self.conventions = conventions

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses by name, or predictions.

        Args:
            batch: ``images``, tensors [3, H, W]; and in training ``targets``, for each picture its ``boxes`` [N, 4]
                (left, top, right, bottom), ``labels`` [N] from 1, ``masks`` uint8 [N, H, W] and, with ``stuff``,
                ``semantic`` uint8 [H, W]: classes of the background from 0, then one for all objects, and
                :data:`IGNORED`.

        Returns:
            Losses; or for each picture ``boxes``, ``labels`` and ``scores``, with the best score first, and, where they
            are predicted, ``masks`` [N, 1, H, W], probabilities, and ``semantic`` [stuff + 1, H, W], logits.
        """
        images, targets = batch["images"], batch.get("targets")
        sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
        detector = self.detector
        if targets is not None and not detector.roi_heads.has_mask():  # they would be resized for nothing
            targets = [{name: value for name, value in one.items() if name != "masks"} for one in targets]
        resized, targets = detector.transform(list(images), targets)
        maps = detector.backbone(resized.tensors)
        logits = None if self.semantic is None else self.semantic(list(maps.values())[:4]).float()
        with torch.autocast(resized.tensors.device.type, enabled=False):  # half precision rounds boxes to whole pixels
            maps = OrderedDict((name, x.float()) for name, x in maps.items())
            proposals, losses = detector.rpn(resized, maps, targets)
            found, more = detector.roi_heads(maps, proposals, resized.image_sizes, targets)
        if self.training:
            losses = {**losses, **more}
            if logits is not None:
                losses["semantic"] = self.semantic_weight * _semantic_loss(logits, targets, resized)
            return losses
        found = detector.transform.postprocess(found, resized.image_sizes, sizes)
        if logits is not None:
            for picture, scores, inner, size in zip(found, logits, resized.image_sizes, sizes, strict=True):
                picture["semantic"] = _original_size(scores, resized.tensors.shape[2:], inner, size)
        predictions: list[dict[str, Tensor]] = found
        return predictions


class SemanticHead(nn.Module):
    """Logits at 1/4 of the size from the four finest maps of a pyramid, as in the panoptic FPN's paper."""

    def __init__(self, channels: int, classes: int, width: int | None = None) -> None:
        super().__init__()
        width = width or channels // 2
        self.branches = nn.ModuleList(
            nn.ModuleList(_block(channels if number == 0 else width, width) for number in range(max(1, level)))
            for level in range(4)
        )
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C, h, w], finest first."""
        total: Tensor | None = None
        for level, (x, branch) in enumerate(zip(maps, self.branches, strict=True)):
            for number, block in enumerate(branch.children()):
                x = block(x)
                if level > 0:
                    size = maps[level - number - 1].shape[2:]
                    x = F.interpolate(x, size, mode="bilinear", align_corners=False)
            total = x if total is None else total + x
        logits: Tensor = self.classify(total)
        return logits


class TinyBackbone(nn.Sequential):
    """Four stages with a stride of 2 and two convolutions each, after a convolution with a stride of 2."""

    def __init__(self) -> None:
        widths = (_TINY_WIDTHS[0], *_TINY_WIDTHS)
        stages = [
            (f"layer{number}", nn.Sequential(_block(before, width, 2), _block(width, width)))
            for number, (before, width) in enumerate(pairwise(widths), start=1)
        ]
        super().__init__(OrderedDict([("stem", _block(3, widths[0], 2)), *stages]))


def _backbone(variant: str, width: int, detection: Any, fifth_level: bool) -> nn.Module:
    """A pyramid with five maps at 1/4 to 1/64 of the size."""
    body: Any = TinyBackbone()
    widths = list(_TINY_WIDTHS)
    if variant != "tiny":
        frozen_norm = library("torchvision.ops").FrozenBatchNorm2d
        body = getattr(library("torchvision.models"), variant)(weights=None, norm_layer=frozen_norm)
        widths = [256, 512, 1024, 2048]
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(not name.startswith(("conv1", "bn1", "layer1")))
    layers = {f"layer{number}": str(number - 1) for number in range(1, 5)}
    pyramid: nn.Module = detection.backbone_utils.BackboneWithFPN(body, layers, widths, width)
    if fifth_level:
        mmdetection.add_fifth_level(pyramid, widths[-1], width)
    return pyramid


def _block(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    groups = next(n for n in (32, 8, 4, 1) if width % n == 0 and width // n >= 4)
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.GroupNorm(groups, width), nn.ReLU())


def _semantic_loss(logits: Tensor, targets: Sequence[Mapping[str, Tensor]], resized: Any) -> Tensor:
    """Cross entropy at the logits' size, over the pixels that have a class."""
    height, width = resized.tensors.shape[2:]
    goal = logits.new_full((len(logits), *logits.shape[2:]), IGNORED, dtype=torch.uint8)
    for number, (target, (inner_height, inner_width)) in enumerate(zip(targets, resized.image_sizes, strict=True)):
        rows, columns = (
            (torch.arange(out, device=goal.device) + 0.5) * padded / out
            for out, padded in zip(goal.shape[1:], (height, width), strict=True)
        )
        rows, columns = rows[rows < inner_height], columns[columns < inner_width]
        semantic = target["semantic"]
        row, column = (
            (place * n / inner).long().clamp(max=n - 1)
            for place, n, inner in zip((rows, columns), semantic.shape, (inner_height, inner_width), strict=True)
        )
        goal[number, : len(row), : len(column)] = semantic[row[:, None], column]
    losses = F.cross_entropy(logits.float(), goal.long(), ignore_index=IGNORED, reduction="sum")
    return losses / (goal != IGNORED).sum().clamp(min=1)


def _original_size(logits: Tensor, padded: Sequence[int], inner: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Logits [K, h, w] of a padded picture, enlarged to the picture [K, H, W]."""
    enlarged = F.interpolate(logits[None], tuple(padded), mode="bilinear", align_corners=False)
    enlarged = enlarged[:, :, : inner[0], : inner[1]]
    return F.interpolate(enlarged, size, mode="bilinear", align_corners=False)[0]
