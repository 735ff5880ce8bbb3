"""Names of Swin-Unet (github.com/HuCaoFighting/Swin-Unet) and Swin (microsoft/Swin-Transformer), mapped to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

_DERIVED = r"relative_position_index$|attn_mask$"  # buffers that follow from the architecture
NOT_IN_IMAGENET = r"steps\.\d\.(project|norm|upsampler|fuse\.0)\.|norm_up\.|last\.|head\.|image_guide\."
"""Our names that a classifier's weights do not include."""
_RENAMES = (
    (r"^patch_embed\.proj\.", "patches.0."),
    (r"^patch_embed\.norm\.", "patches.1."),
    (r"^layers\.(\d)\.blocks\.", r"stages.\1.blocks."),
    (r"^layers\.(\d)\.downsample\.", r"merges.\1."),
    (r"^concat_back_dim\.(\d)\.", r"steps.\1.fuse.0."),
    (r"^layers_up\.(\d)\.blocks\.", r"steps.\1.fuse.1.blocks."),
    (r"^layers_up\.0\.expand\.", "steps.1.project."),
    (r"^layers_up\.0\.norm\.", "steps.1.norm."),
    (r"^up\.expand\.", "last.project."),
    (r"^up\.norm\.", "last.norm."),
    (r"^output\.", "head."),
    (r"\.mlp\.fc(\d)\.", r".mlp.linear\1."),
)
_UPSAMPLE = re.compile(r"^layers_up\.(\d)\.upsample\.(\w+)\.")


def adapt(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Map Swin-Unet's names to ours; its linear layers are 1x1 convolutions here."""
    expected = module.state_dict()
    adapted = {}
    for name, value in published.items():
        if re.search(_DERIVED, name):
            continue
        renamed = _rename(name)
        if value.ndim == 2 and expected.get(renamed, value).ndim == 4:
            if name.endswith("expand.weight"):
                value = _channels_before_pixels(value, 4 if name.startswith("up.") else 2)
            value = value[:, :, None, None]
        adapted[renamed] = value
    return adapted


def adapt_imagenet(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Map Swin's names to the encoder and, mirrored, to the decoder, as published for Swin-Unet."""
    mirrored = {name: value for name, value in published.items() if not name.startswith("head.")}
    for name, value in published.items():
        stage = re.match(r"^layers\.([012])\.(blocks\..*)", name)
        if stage:
            mirrored[f"layers_up.{3 - int(stage[1])}.{stage[2]}"] = value
    return adapt(mirrored, module)


def _rename(name: str) -> str:
    if upsample := _UPSAMPLE.match(name):
        part = {"expand": "project"}.get(upsample[2], upsample[2])
        name = f"steps.{int(upsample[1]) + 1}.{part}.{name[upsample.end() :]}"
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    # the first published upsampling step has no blocks; our numbering starts at the second
    return re.sub(r"^steps\.(\d)", lambda step: f"steps.{int(step[1]) - 1}", name)


def _channels_before_pixels(weight: Tensor, scale: int) -> Tensor:
    """Reorder the rows of an expanding layer from (pixels, channels) to (channels, pixels)."""
    return weight.unflatten(0, (scale**2, -1)).transpose(0, 1).flatten(0, 1)
