"""Published parameter names of CARAFE, SAPA, FADE, DySample and FreqFusion, mapped to ours."""

from __future__ import annotations

from collections.abc import Mapping

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


def adapt(layout: str, published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Map published names to ours; unknown names are kept unchanged for the report."""
    ours = {}
    for name, value in published.items():
        if name in _NAMES[layout]:  # a derived buffer
            continue
        prefix, _, leaf = name.rpartition(".")
        ours[f"{_NAMES[layout].get(prefix, prefix)}.{leaf}"] = value
    return ours
