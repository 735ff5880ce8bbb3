"""Published TransUNet parameter names (github.com/Beckschen/TransUNet), mapped to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

_EMBEDDINGS = r"^transformer\.embeddings\."
_RENAMES: tuple[tuple[str, str], ...] = (
    (_EMBEDDINGS + r"position_embeddings$", "transformer.positions"),
    (_EMBEDDINGS + r"patch_embeddings\.", "patch_embedding."),
    (_EMBEDDINGS + r"hybrid_model\.root\.conv\.", "encoder.root.0."),
    (_EMBEDDINGS + r"hybrid_model\.root\.gn\.", "encoder.root.1."),
    (r"^transformer\.encoder\.encoder_norm\.", "transformer.norm."),
    (r"^transformer\.encoder\.layer\.(\d+)\.", r"transformer.blocks.\1."),
    (r"\.attn\.", ".attention."),
    (r"\.ffn_norm\.", ".mlp_norm."),
    (r"\.ffn\.fc1\.", ".mlp.0."),
    (r"\.ffn\.fc2\.", ".mlp.3."),
    (r"^decoder\.conv_more\.", "bridge."),
    (r"^segmentation_head\.0\.", "head."),
)
_UNIT = re.compile(_EMBEDDINGS + r"hybrid_model\.body\.block(\d+)\.unit(\d+)\.(\w+)\.(\w+)$")
_BLOCK = re.compile(r"^decoder\.blocks\.(\d+)\.conv(\d)\.(.+)$")
_UNIT_PARTS = {"downsample": "shortcut.0", "gn_proj": "shortcut.1"}


def adapt(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Map published names to ours; unknown names are kept unchanged for the report."""
    return {_rename(name): value for name, value in published.items()}


def _rename(name: str) -> str:
    if unit := _UNIT.match(name):
        block, number, part, leaf = unit.groups()
        part = _UNIT_PARTS.get(part, part.replace("gn", "norm"))
        return f"encoder.stages.{int(block) - 1}.{int(number) - 1}.{part}.{leaf}"
    if block_match := _BLOCK.match(name):
        block, conv, rest = block_match.groups()
        return f"decoder.steps.{block}.fuse.{int(conv) - 1}.{rest}"
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name
