"""Published weights of networks for pictures: ImageNet encoders, and complete networks of mmsegmentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.weights import name_tables, resfu

NOT_IN_ENCODER = r"(?!encoder\.)"
"""Our names that an encoder's weights do not include."""

# transformers before version 5, then since
_TRANSFORMERS: name_tables.Rules = (
    (r"^segformer\.", ""),
    (r"^encoder\.patch_embeddings\.(\d)\.", r"stages.\1.patch_embeddings."),
    (r"^encoder\.block\.(\d)\.", r"stages.\1.blocks."),
    (r"^encoder\.layer_norm\.(\d)\.", r"stages.\1.layer_norm."),
    (r"\.attention\.self\.(q|k|v)[a-z]+\.", r".attention.\1_proj."),
    (r"\.attention\.self\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attention\.self\.layer_norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.mlp\.dense(\d)\.", r".mlp.fc\1."),
    (r"\.layer_norm_1\.", ".layernorm_before."),
    (r"\.layer_norm_2\.", ".layernorm_after."),
)
# mmsegmentation's MiT; its attention is torch's
_MMSEG_MIT: name_tables.Rules = (
    (r"^layers\.(\d)\.0\.projection\.", r"stages.\1.patch_embeddings.proj."),
    (r"^layers\.(\d)\.0\.norm\.", r"stages.\1.patch_embeddings.layer_norm."),
    (r"^layers\.(\d)\.1\.", r"stages.\1.blocks."),
    (r"^layers\.(\d)\.2\.", r"stages.\1.layer_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.attn\.out_proj\.", ".attention.o_proj."),
    (r"\.attn\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attn\.norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"\.ffn\.layers\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.dwconv.dwconv."),
    (r"\.ffn\.layers\.4\.", ".mlp.fc2."),
)
_HEAD: name_tables.Rules = (
    (r"^convs\.(\d)\.conv\.", r"projections.\1.0."),
    (r"^convs\.(\d)\.bn\.", r"projections.\1.1."),
    (r"^fusion_conv\.conv\.", "fuse.0."),
    (r"^fusion_conv\.bn\.", "fuse.1."),
    (r"^(squeeze|align)\.conv\.", r"\1.0."),
    (r"^(squeeze|align)\.gn\.", r"\1.1."),
    (r"^hamburger\.ham_in\.conv\.", "hamburger.ham_in."),
    (r"^hamburger\.ham_out\.conv\.", "hamburger.ham_out.0."),
    (r"^hamburger\.ham_out\.gn\.", "hamburger.ham_out.1."),
    (r"^conv_seg\.", "classify."),
)
_CLASSIFIER = re.compile(r"^(classifier|head|decode_head|auxiliary_head|fc)\.")


def adapt_segformer_imagenet(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """MiT as transformers stores it (``nvidia/mit-b0`` and so on)."""
    del module
    return _encoder({name_tables.renamed(name, _TRANSFORMERS): value for name, value in published.items()})


def adapt_vit(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A ViT as timm stores it (``vit_small_patch16_224`` and so on)."""
    del module
    return _encoder(published)


def adapt_mscan(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """MSCAN as SegNeXt's authors and mmsegmentation store it."""
    del module
    return _encoder({name.replace(".dwconv.dwconv.", ".dwconv."): value for name, value in published.items()})


def adapt_segnext(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A complete SegNeXt of mmsegmentation, with FreqFusion's head if it has one."""
    encoder = adapt_mscan(name_tables.under(published, "backbone."), module)
    return {
        **encoder,
        **_with_upsamplers(name_tables.under(published, "decode_head."), module, "freqfusions", "freqfusion"),
    }


def adapt_segformer(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A complete SegFormer of mmsegmentation, with ReSFU's head if it has one."""
    encoder: dict[str, Tensor] = {}
    for name, value in name_tables.under(published, "backbone.").items():
        encoder |= _mit(name_tables.renamed(name, _MMSEG_MIT), value)
    head = name_tables.under(published, "decode_head.")
    return {**_encoder(encoder), **_with_upsamplers(head, module, "upsample_modules", "resfu")}


def resize_positions(positions: Tensor, module: nn.Module) -> Tensor:
    """Resize position embeddings [1, 1 + N, C] of a square grid to the module's, as timm does; the first stays."""
    first, grid = positions[:, :1], positions[:, 1:]
    side, goal = round(grid.shape[1] ** 0.5), round((module.state_dict()["encoder.pos_embed"].shape[1] - 1) ** 0.5)
    if side**2 != grid.shape[1]:
        raise ValueError(f"expected position embeddings of a square grid, found {tuple(positions.shape)}")
    square = grid.unflatten(1, (side, side)).movedim(3, 1)
    resized = F.interpolate(square, (goal, goal), mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([first, resized.flatten(2).transpose(1, 2)], 1)


def _mit(name: str, value: Tensor) -> dict[str, Tensor]:
    """Queries, keys and values apart, and layers on tokens instead of 1x1 convolutions."""
    if ".attn.attn.in_proj_" in name:
        prefix, leaf = name.split("attn.attn.in_proj_")
        return {f"{prefix}attention.{part}_proj.{leaf}": v for part, v in zip("qkv", value.chunk(3), strict=True)}
    return {name: value.flatten(1) if re.search(r"\.mlp\.fc\d\.weight$", name) else value}


def _encoder(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"encoder.{name}": value for name, value in published.items() if not _CLASSIFIER.match(name)}


def _with_upsamplers(head: Mapping[str, Tensor], module: nn.Module, place: str, layout: str) -> dict[str, Tensor]:
    """A head whose upsamplers are the members of the list ``place``."""
    ours = _head({name: value for name, value in head.items() if not name.startswith(f"{place}.")})
    adapt = resfu.adapt if layout == "resfu" else partial(name_tables.adapt, layout)
    upsamplers = dict(module.named_modules()).get("head.upsampling.upsamplers", nn.ModuleList())
    for number, upsampler in enumerate(upsamplers.children()):
        adapted = adapt(name_tables.under(head, f"{place}.{number}."), upsampler)
        ours |= {f"head.upsampling.upsamplers.{number}.{name}": value for name, value in adapted.items()}
    return ours


def _head(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"head.{name_tables.renamed(name, _HEAD)}": value for name, value in published.items()}
