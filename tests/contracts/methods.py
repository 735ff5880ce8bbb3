"""The methods that the contract covers. To add a method, add a line to ``METHODS``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from medups.upsamplers import create_upsampler

CHANNELS, GUIDE = 8, 8


@dataclass(frozen=True)
class Method:
    """How the contract tests one configuration.

    constant: a constant field stays constant (the border rule allows it).
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    constant: bool = True

    def make(self, dims: int, scale: Any = 2) -> nn.Module:
        torch.manual_seed(0)
        up = create_upsampler(
            self.name, spatial_dims=dims, in_channels=CHANNELS, guide_channels=GUIDE, scale_factor=scale, **self.options
        )
        for parameter in up.parameters():  # the initial values reduce some methods to interpolation
            nn.init.normal_(parameter, std=0.2)
        return up


METHODS = {
    "resfu": Method("resfu"),
    "resfu-coarse": Method("resfu", {"neighbors": "coarse", "semantic_alignment": False}),
    "resfu-dot": Method("resfu", {"similarity": "dot", "detail_alignment": False}),
    "freqfusion": Method("freqfusion", {"compressed_channels": 16}, constant=False),
    "freqfusion-reflect": Method("freqfusion", {"compressed_channels": 16, "border": "reflect"}),
    "freqfusion-replicate": Method("freqfusion", {"compressed_channels": 16, "border": "replicate"}),
    "freqfusion-offsets": Method("freqfusion", {"compressed_channels": 16, "low_pass": False, "high_pass": False}),
    "carafe": Method("carafe", {"groups": 2}, constant=False),
    "sapa": Method("sapa", {"embed_channels": 16}, constant=False),
    "fade": Method("fade", {"embed_channels": 16}, constant=False),
    "fade_lite": Method("fade_lite", constant=False),
    "dysample": Method("dysample"),
    "dysample-pl": Method("dysample", {"style": "pl", "groups": 2, "dynamic_scope": True}),
    "sapa_d": Method("sapa_d", {"points": 3, "groups": 2, "embed_channels": 4}, constant=False),
    "sapa_d-coarse": Method(
        "sapa_d", {"points": 3, "groups": 2, "embed_channels": 4, "fine_offsets": False}, constant=False
    ),
    "lda_aqu": Method("lda_aqu", {"reduction": 1, "heads": 2, "groups": 2}, constant=False),
    "onsampling": Method("onsampling", {"compressed_channels": 8, "dynamic_scope": True}),
    "local_attender": Method("local_attender"),
    "local_attender-cross": Method("local_attender", {"neighborhood": "cross", "residual": False}),
    "nearest": Method("nearest"),
    "linear": Method("linear"),
    "linear_aligned": Method("linear_aligned"),
    "cubic": Method("cubic"),
    "transposed_conv": Method("transposed_conv", constant=False),
    "pixel_shuffle": Method("pixel_shuffle", constant=False),
}


EACH = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


DIMS = pytest.mark.parametrize("dims", [2, 3])


REPRESENTATIVE = ["sapa", "dysample", "fade_lite"]  # quick to trace; together they use every operator


def matrix():
    """All methods with ``--full``, representatives by default."""
    return pytest.mark.parametrize(
        "method",
        [
            pytest.param(method, id=name, marks=[] if name in REPRESENTATIVE else [pytest.mark.full])
            for name, method in METHODS.items()
        ],
    )


def inputs(dims, small=None, large=None, dtype=torch.float32, batch=2):
    generator = torch.Generator().manual_seed(1)
    small = small or (4, 5, 3)[:dims]
    large = large or tuple(2 * n for n in small)
    x, guide = (
        torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64).to(dtype)
        for channels, size in ((CHANNELS, small), (GUIDE, large))
    )
    return x, guide
