"""Published weights of detectors: ImageNet encoders and complete detectors of torchvision, detectors of mmdetection."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from medups.weights import name_tables

_BODY = "detector.backbone.body."
NOT_IN_RESNET = r"(?!detector\.backbone\.body\.)"
"""Names of a detector that an encoder's weights do not include."""
NOT_IN_TORCHVISION = r"(semantic\.|detector\.backbone\.fpn\.steps\.)"
# torchvision before 0.13, whose files are still the ones to download
_OLD_TORCHVISION: name_tables.Rules = (
    (r"(\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
    (r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
    (r"\.mask_fcn1\.", ".0.0."),
    (r"\.mask_fcn2\.", ".1.0."),
    (r"\.mask_fcn3\.", ".2.0."),
    (r"\.mask_fcn4\.", ".3.0."),
)
# the neck with FreqFusion calls its upsamplers alignment, the one with CARAFE upsample_modules
_MMDETECTION: name_tables.Rules = (
    (r"^backbone\.", _BODY),
    (r"^neck\.lateral_convs\.(\d)\.conv\.", r"detector.backbone.fpn.inner_blocks.\1.0."),
    (r"^neck\.fpn_convs\.(\d)\.conv\.", r"detector.backbone.fpn.layer_blocks.\1.0."),
    (r"^rpn_head\.rpn_conv\.", "detector.rpn.head.conv.0.0."),
    (r"^rpn_head\.rpn_cls\.", "detector.rpn.head.cls_logits."),
    (r"^rpn_head\.rpn_reg\.", "detector.rpn.head.bbox_pred."),
    (r"^roi_head\.bbox_head\.shared_fcs\.0\.", "detector.roi_heads.box_head.fc6."),
    (r"^roi_head\.bbox_head\.shared_fcs\.1\.", "detector.roi_heads.box_head.fc7."),
    (r"^roi_head\.bbox_head\.fc_cls\.", "detector.roi_heads.box_predictor.cls_score."),
    (r"^roi_head\.bbox_head\.fc_reg\.", "detector.roi_heads.box_predictor.bbox_pred."),
    (r"^roi_head\.mask_head\.convs\.(\d)\.conv\.", r"detector.roi_heads.mask_head.\1.0."),
    (r"^roi_head\.mask_head\.upsample\.", "detector.roi_heads.mask_predictor.conv5_mask."),
    (r"^roi_head\.mask_head\.conv_logits\.", "detector.roi_heads.mask_predictor.mask_fcn_logits."),
    (r"^semantic_head\.conv_upsample_layers\.(\d)\.convs\.(\d)\.conv\.", r"semantic.branches.\1.\2.0."),
    (r"^semantic_head\.conv_upsample_layers\.(\d)\.convs\.(\d)\.gn\.", r"semantic.branches.\1.\2.1."),
    (r"^semantic_head\.conv_logits\.", "semantic.classify."),
)
_STEP = re.compile(r"^neck\.(alignment|upsample_modules)\.(\d)\.")
_LAYOUTS = {"alignment": "freqfusion", "upsample_modules": "carafe"}


def adapt_resnet(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A ResNet as torchvision stores it, for the encoder of a detector."""
    del module
    kept = {name: value for name, value in _weights(published).items() if not name.startswith("fc.")}
    return {f"{_BODY}{name}": value for name, value in kept.items()}


def adapt_torchvision(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A Faster or Mask R-CNN as torchvision stores it; new upsampling keeps its initial values."""
    del module
    weights = _weights(published)
    return {f"detector.{name_tables.renamed(name, _OLD_TORCHVISION)}": value for name, value in weights.items()}


def adapt_mmdetection(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A Faster R-CNN, Mask R-CNN or panoptic FPN as mmdetection stores it, with CARAFE, FreqFusion or interpolation.

    There the background is the last class, and has neither box nor mask; here it is the first.
    """
    if getattr(module, "conventions", "mmdetection") != "mmdetection":
        raise ValueError(
            "weights of mmdetection are for network.module.conventions=mmdetection, which computes as it does"
        )
    ours = {}
    for name, value in _weights(published).items():
        if not _STEP.match(name):
            ours[name_tables.renamed(name, _MMDETECTION)] = _background_first(name, value)
    members = dict(module.named_modules())
    for place, number in sorted({match.groups() for name in published if (match := _STEP.match(name))}):
        step = f"detector.backbone.fpn.steps.{number}.upsampler"
        weights = name_tables.under(published, f"neck.{place}.{number}.")
        adapted = name_tables.adapt(_LAYOUTS[place], weights, members.get(step, nn.Identity()))
        ours |= {f"{step}.{name}": value for name, value in adapted.items()}
    return ours


def _weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}


def _background_first(name: str, value: Tensor) -> Tensor:
    """The value with its rows in the order of torchvision's classes."""
    if ".fc_cls." in name:
        return value.roll(1, 0)
    rows = 4 if ".fc_reg." in name else 1 if ".mask_head.conv_logits." in name else 0
    return F.pad(value, [0, 0] * (value.ndim - 1) + [rows, 0]) if rows else value
