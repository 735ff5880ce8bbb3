"""Mask2Former (arXiv 2112.01527) of transformers, for classes of pixels.

:func:`medups.networks.swap_upsampling` finds the last step of its pixel decoder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medups.networks.pictures.libraries import library

_SIZES: dict[str, dict[str, Any]] = {
    "t": {"depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "embed_dim": 96, "window_size": 7},
    "s": {"depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24], "embed_dim": 96, "window_size": 7},
    "b": {"depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "embed_dim": 128, "window_size": 12},
    "tiny": {"depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4], "embed_dim": 16, "window_size": 4},
}
_TINY = {
    "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 64, "encoder_layers": 2,
    "dim_feedforward": 64, "decoder_layers": 4, "num_attention_heads": 4, "num_queries": 20,
}  # fmt: skip
IGNORED = 255


class Mask2Former(nn.Module):
    """Logits [B, out_channels, H/4, W/4] of pictures [B, 3, H, W]; in training, what :class:`QueryLoss` takes.

    Args:
        out_channels: classes.
        variant: of the Swin Transformer: ``t``, ``s`` or ``b``, or ``tiny`` for trials.

    Raises:
        ImportError: transformers is not installed.
        ValueError: an unknown variant.
    """

    def __init__(self, out_channels: int, variant: str = "t") -> None:
        super().__init__()
        if variant not in _SIZES:
            raise ValueError(f"Mask2Former: unknown variant {variant!r}; expected one of {', '.join(_SIZES)}")
        transformers = library("transformers")
        stages = ["stage1", "stage2", "stage3", "stage4"]
        backbone = transformers.SwinConfig(**_SIZES[variant], drop_path_rate=0.3, out_features=stages)
        sizes = _TINY if variant == "tiny" else {}
        config = transformers.Mask2FormerConfig(backbone_config=backbone, num_labels=out_channels, **sizes)
        self.network = transformers.Mask2FormerForUniversalSegmentation(config)
        for name, parameter in self.network.named_parameters():
            if ".encoder.swin.layernorm." in name:  # not used; several processes wait for the gradient of each weight
                parameter.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor | dict[str, Any]:
        output = self.network(pixel_values=image, output_auxiliary_logits=self.training)
        classes, masks = output.class_queries_logits, output.masks_queries_logits
        if self.training:
            return {"classes": classes, "masks": masks, "auxiliary": output.auxiliary_logits}
        weights = classes.softmax(-1)[..., :-1]  # the last class is none
        probabilities: Tensor = torch.einsum("bqc,bqhw->bchw", weights, masks.sigmoid())
        return probabilities.clamp_min(1e-6).log()


class QueryLoss(nn.Module):
    """The published loss: queries are matched to the classes of a picture, at random points of their masks."""

    reads_outputs = True

    def __init__(self, out_channels: int, points: int = 12544) -> None:
        super().__init__()
        transformers = library("transformers")
        modeling = library("transformers.models.mask2former.modeling_mask2former")
        config = transformers.Mask2FormerConfig(num_labels=out_channels, train_num_points=points)
        self.weights = {
            "loss_cross_entropy": config.class_weight,
            "loss_mask": config.mask_weight,
            "loss_dice": config.dice_weight,
        }
        self.losses = modeling.Mask2FormerLoss(config, self.weights)

    def forward(self, output: dict[str, Any], label: Tensor) -> Tensor:
        """``output`` of the network in training, ``label`` channel numbers [B, 1, H, W]."""
        ids = [channels[channels != IGNORED].unique() for channels in label[:, 0]]
        masks = [
            (channels == numbers[:, None, None]).float() for channels, numbers in zip(label[:, 0], ids, strict=True)
        ]
        losses = self.losses.to(label.device)(output["masks"], output["classes"], masks, ids, output["auxiliary"])
        total = output["classes"].new_zeros(())
        for name, value in losses.items():
            total = total + next(weight for part, weight in self.weights.items() if part in name) * value
        return total
