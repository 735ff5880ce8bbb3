"""Published parameter names of most upsamplers, mapped to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

# published prefix to ours; None for derived buffers that the published modules store
_NAMES: dict[str, dict[str, str | None]] = {
    "carafe": {"channel_compressor": "compress", "content_encoder": "encode"},
    "sapa": {"norm_y": "query_norm", "norm_x": "key_norm", "q": "query", "k": "key"},
    "fade": {
        "gate_generator.conv": "gate",
        "ker_generator.compressor_en": "compress_guide",
        "ker_generator.compressor_de": "compress",
        "ker_generator.content_encoder": "encode",
    },
    "dysample": {"offset": "offset", "scope": "scope", "init_pos": None},
    "sapa_d": {"norm_y": "norm_guide", "norm_x": "norm", "q": "query", "k": "key", "offset": "offset"},
    "lda_aqu": {
        "layer_norm.norm": "norm",
        "proj_q": "query",
        "proj_k": "key",
        "conv_offset.0": "offset.depthwise",
        "conv_offset.1.norm": "offset.norm",
        "conv_offset.3": "offset.predict",
        "relative_position_bias_table": "bias",
    },
    "local_attender": {"conv1": "encode"},
    "onsampling": {
        "comp.conv": "compress",
        "enc.conv": "encode",
        "comp.conv.bias": None,  # the norms after them cancel both
        "enc.conv.bias": None,
        "offset": "offset",
        "scope": "scope",
        "init_pos": None,
    },
    "freqfusion": {
        "hr_channel_compressor": "compress_guide",
        "lr_channel_compressor": "compress",
        "content_encoder": "lowpass",
        "content_encoder2": "highpass",
        "dysampler.norm_hr": "offsets.norm_guide",
        "dysampler.norm_lr": "offsets.norm",
        "dysampler.offset": "offsets.offset",
        "dysampler.direct_scale": "offsets.scope",
        "dysampler.hr_offset": "offsets.offset_guide",
        "dysampler.hr_direct_scale": "offsets.scope_guide",
        "dysampler.init_pos": None,
        "hamming_lowpass": None,
        "hamming_highpass": None,
    },
}


LAYOUTS = tuple(_NAMES)
Rules = Sequence[tuple[str, str]]
"""Patterns of names and their replacements, applied in order."""


def renamed(name: str, rules: Rules) -> str:
    """``name`` after all rules."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def under(published: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The names that begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in published.items() if name.startswith(prefix)}


def adapt(layout: str, published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Map published names to ours; unknown names are kept unchanged for the report."""
    ours = {}
    for name, value in published.items():
        if name in _NAMES[layout]:  # a parameter of its own, or a derived buffer
            own = _NAMES[layout][name]
            if own is not None:
                ours[own] = value.reshape(module.get_parameter(own).shape) if own == "bias" else value
            continue
        prefix, _, leaf = name.rpartition(".")
        ours[f"{_NAMES[layout].get(prefix, prefix)}.{leaf}"] = value
    return ours
