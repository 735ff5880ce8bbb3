"""Google's ViT archives (R50+ViT-B_16.npz, ViT-B_16.npz), mapped to TransUNet's encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NOT_IN_ARCHIVE = r"bridge\.|decoder\.|head\."
"""Our names that a classifier's weights do not include."""
_STRIDE = 16  # image pixels between tokens
_BLOCK = re.compile(r"^Transformer/encoderblock_(\d+)/(.+)/(kernel|bias|scale)$")
_PARTS = {
    "MultiHeadDotProductAttention_1/query": "attention.query",
    "MultiHeadDotProductAttention_1/key": "attention.key",
    "MultiHeadDotProductAttention_1/value": "attention.value",
    "MultiHeadDotProductAttention_1/out": "attention.out",
    "MlpBlock_3/Dense_0": "mlp.0",
    "MlpBlock_3/Dense_1": "mlp.3",
    "LayerNorm_0": "attention_norm",
    "LayerNorm_2": "mlp_norm",
}
_UNIT = re.compile(r"^block(\d)/unit(\d+)/(\w+)/(kernel|scale|bias)$")
_UNIT_PARTS = {"conv_proj": "shortcut.0", "gn_proj": "shortcut.1", "gn1": "norm1", "gn2": "norm2", "gn3": "norm3"}
_SINGLE = {
    "embedding": "patch_embedding",
    "conv_root": "encoder.root.0",
    "gn_root": "encoder.root.1",
    "Transformer/encoder_norm": "transformer.norm",
}
_DROPPED = re.compile(r"^(head|pre_logits)/|^cls$")  # parts of the classifier


def adapt(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Map Google's names and array layouts to ours."""
    adapted = {}
    for name, value in published.items():
        if _DROPPED.match(name):
            continue
        if name == "Transformer/posembed_input/pos_embedding":
            adapted["transformer.positions"] = value[:, 1:]  # without the class token
            continue
        renamed = _rename(name)
        adapted[renamed] = _reordered(value, renamed)
    return adapted


def resize_positions(positions: Tensor, module: nn.Module) -> Tensor:
    """Resize position embeddings [1, N, C] of a square grid to the module's grid, linearly with aligned corners."""
    side = round(positions.shape[1] ** 0.5)
    if positions.ndim != 3 or side**2 != positions.shape[1]:
        raise ValueError(f"expected position embeddings [1, N, C] of a square grid, found {tuple(positions.shape)}")
    size = module.img_size
    assert isinstance(size, tuple)  # the module is a TransUNet
    height, width = (n // _STRIDE for n in size)
    grid = positions.unflatten(1, (side, -1)).movedim(3, 1)
    return F.interpolate(grid, (height, width), mode="bilinear", align_corners=True).flatten(2).transpose(1, 2)


def _rename(name: str) -> str:
    if block := _BLOCK.match(name):
        return f"transformer.blocks.{block[1]}.{_PARTS.get(block[2], block[2])}.{_leaf(block[3])}"
    if unit := _UNIT.match(name):
        part = _UNIT_PARTS.get(unit[3], unit[3])
        return f"encoder.stages.{int(unit[1]) - 1}.{int(unit[2]) - 1}.{part}.{_leaf(unit[4])}"
    head, _, leaf = name.rpartition("/")
    return f"{_SINGLE[head]}.{_leaf(leaf)}" if head in _SINGLE else name


def _leaf(name: str) -> str:
    return "bias" if name == "bias" else "weight"


def _reordered(value: Tensor, name: str) -> Tensor:
    """Reorder axes: Google's arrays have input axes first, ours output axes first."""
    if ".attention." in name and value.ndim == 3:
        value = value.flatten(0, 1) if name.endswith("out.weight") else value.flatten(1)
        return value.t()
    if ".attention." in name:
        return value.flatten()
    if value.ndim == 4 and value.shape[:3] == torch.Size((1, 1, 1)):
        return value.flatten()  # from a group norm
    if value.ndim == 4:
        return value.permute(3, 2, 0, 1)
    return value.t() if value.ndim == 2 else value
