"""Upsamplers by name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from medups.upsamplers.base import Scale, Upsampler
from medups.upsamplers.carafe import CARAFE
from medups.upsamplers.dysample import DySample
from medups.upsamplers.fade import FADE
from medups.upsamplers.filters import PixelShuffle, TransposedConv
from medups.upsamplers.freqfusion import FreqFusion
from medups.upsamplers.interpolate import Interpolate
from medups.upsamplers.lda_aqu import LDAAQU
from medups.upsamplers.local_attender import LocalAttender
from medups.upsamplers.onsampling import Onsampling
from medups.upsamplers.resfu import ReSFU
from medups.upsamplers.sapa import SAPA
from medups.upsamplers.sapa_d import SAPAD

_REGISTRY: dict[str, Callable[..., Upsampler]] = {
    "resfu": ReSFU,
    "freqfusion": FreqFusion,
    "carafe": CARAFE,
    "sapa": SAPA,
    "fade": FADE,
    "fade_lite": partial(FADE, lite=True),
    "dysample": DySample,
    "sapa_d": SAPAD,
    "lda_aqu": LDAAQU,
    "onsampling": Onsampling,
    "local_attender": LocalAttender,
    "nearest": partial(Interpolate, mode="nearest"),
    "linear": Interpolate,
    "linear_aligned": partial(Interpolate, align_corners=True),
    "cubic": partial(Interpolate, mode="cubic"),
    "transposed_conv": TransposedConv,
    "pixel_shuffle": PixelShuffle,
}
_ALIASES = {"bilinear": "linear_aligned"}  # the published name of TransUNet's step


def list_upsamplers() -> list[str]:
    """The names that :func:`create_upsampler` takes."""
    return list(_REGISTRY)


def upsampler_class(name: str) -> type[Upsampler]:
    """The class behind a name. Raises ValueError for an unknown name."""
    entry = _entry(name)
    return entry.func if isinstance(entry, partial) else entry  # type: ignore[return-value]  # partials here wrap classes


def create_upsampler(
    name: str,
    *,
    spatial_dims: int,
    in_channels: int,
    guide_channels: int | None = None,
    scale_factor: Scale = 2,
    **options: Any,
) -> Upsampler:
    """Create the upsampler ``name`` with its options; ``bilinear`` is an alias of ``linear_aligned``.

    Raises:
        ValueError: an unknown name (the message lists the known ones), or an argument outside its range.
        TypeError: an option that the method does not support.
    """
    return _entry(name)(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        guide_channels=guide_channels,
        scale_factor=scale_factor,
        **options,
    )


def _entry(name: str) -> Callable[..., Upsampler]:
    name = _ALIASES.get(name, name)
    if name not in _REGISTRY:
        near = get_close_matches(name, _REGISTRY, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown upsampler {name!r}; expected one of {', '.join(_REGISTRY)}.{hint}")
    return _REGISTRY[name]
