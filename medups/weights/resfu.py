"""Published ReSFU parameter names (github.com/zmhhmz/ReSFU), mapped to ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

_DERIVED = {"GF.kernel"}  # the fixed Gaussian, stored by the published module
_NAMES = {
    "norm_y": "query_norm",
    "norm_x": "key_norm",
    "q": "query",
    "k": "key",
    "semantic_scores": "semantic",
    "detail_scores": "detail",
}
_BLOCK = {"channel_compressor.1": "mix", "channel_compressor.3": "mix_norm", "channel_compressor.4": "logits"}


def adapt(published: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Map published names to ours; unknown names are kept unchanged for the report."""
    ours = {}
    for name, value in published.items():
        if name in _DERIVED:
            continue
        head, _, rest = name.partition(".")
        if head.endswith("_scores"):
            for published_part, our_part in _BLOCK.items():
                rest = rest.replace(published_part, our_part)
            if rest == "bias":
                value = value.flatten()
        ours[f"{_NAMES.get(head, head)}.{rest}"] = value
    return ours
