"""FreqFusion: frequency-aware feature fusion (arXiv 2408.12879).

Three parts, each optional: an adaptive low-pass filter that smooths the deep map while it is
upsampled, an adaptive high-pass filter that sharpens the guide, and an offset generator that moves the
upsampled map's pixels toward similar ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from medups.ops import neighbor_similarity, reassemble, sample_offsets
from medups.ops.dtypes import wide_dtype
from medups.ops.reassembly import Border
from medups.upsamplers.base import Kernels, Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import (
    GroupNorm,
    conv,
    dividing_groups,
    odd_kernel,
    pixel_shuffle,
    read_nearest,
    rounded_channels,
    side_by_side,
    whole_scale,
)

_CHANNELS_PER_NORM_GROUP = 8
_SIMILARITY_DILATION = 2


class FreqFusion(Upsampler):
    """FreqFusion of ``x`` [B, C, *in] and ``guide`` [B, Cg, *out]; also returns the sharpened guide.

    Args:
        compressed_channels: channels m that kernels and offsets are predicted from; ``quarter`` for a quarter of
            C + Cg, as in the published SegNeXt; None for the same, rounded up to a multiple of 8, and at most 64:
            cheaper in thin networks.
        lowpass_kernel: odd; None for 5 in 2-D and 3 in 3-D.
        highpass_kernel: odd.
        low_pass, high_pass, offset_generator: enable each part. Without the low-pass filter ``x`` is upsampled by
            nearest neighbor; without the high-pass filter the guide is returned unchanged.
        offset_groups: groups of channels, each with its own offsets; divides C.
        offset_features: what offsets are predicted from: compressed maps and similarities ``joined``, or the
            ``similarity`` alone, as in the published SegNeXt; their scope then reads the maps alone.
        offset_norm: group norm before the offsets are predicted; off in the published Mask2Former.
        offset_init: ``small`` starts with offsets near zero, ``published`` with Xavier weights, which give offsets
            of about one pixel of the deep map.
        hamming_window: taper the kernels.
        border: the values that filters read outside the maps: ``zeros`` as published, ``reflect`` as in the published
            standalone file, or ``replicate``.

    Further arguments and errors: see :class:`Upsampler`; scale factors must be whole numbers if offsets are generated.
    """

    needs_guide = True
    parts = (
        Part("kernels", ("lowpass.*", "highpass.*"), adaptive=0.1),
        Part("offsets", ("offsets.*",), adaptive=0.01),
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        compressed_channels: int | Literal["quarter"] | None = 64,
        lowpass_kernel: int | None = None,
        highpass_kernel: int = 3,
        low_pass: bool = True,
        high_pass: bool = True,
        offset_generator: bool = True,
        offset_groups: int = 4,
        offset_features: Literal["joined", "similarity"] = "joined",
        offset_norm: bool = True,
        offset_init: Literal["small", "published"] = "small",
        hamming_window: bool = False,
        border: Border = "zeros",
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        assert guide_channels is not None  # checked by the base
        for argument, value, choices in (
            ("border", border, ("zeros", "reflect", "replicate")),
            ("offset_init", offset_init, ("small", "published")),
            ("offset_features", offset_features, ("joined", "similarity")),
            ("compressed_channels", compressed_channels, ("quarter",)),
        ):
            if isinstance(value, str) and value not in choices:
                raise ValueError(f"FreqFusion: {argument} must be one of {', '.join(choices)}, got {value!r}")
        if lowpass_kernel is None:
            lowpass_kernel = 5 if spatial_dims == 2 else 3
        self.lowpass_kernel = odd_kernel("FreqFusion", lowpass_kernel, "lowpass_kernel")
        self.highpass_kernel = odd_kernel("FreqFusion", highpass_kernel, "highpass_kernel")
        self.border: Border = border
        self.hamming_window = hamming_window
        self.refines_guide = high_pass
        m = _compressed(compressed_channels, in_channels + guide_channels)
        self.offset_groups = offset_groups if offset_generator else 1
        self.compress_guide = conv(spatial_dims, guide_channels, m)
        self.compress = conv(spatial_dims, in_channels, m)
        self.lowpass = conv(spatial_dims, m, lowpass_kernel**spatial_dims, 3) if low_pass else None
        self.highpass = conv(spatial_dims, m, highpass_kernel**spatial_dims, 3) if high_pass else None
        for layer in (self.compress_guide, self.compress):
            _init(layer, xavier=True)
        for encoder in (self.lowpass, self.highpass):
            if encoder is not None:
                _init(encoder, xavier=False)
        self.offsets = None
        if offset_generator:
            dividing_groups("FreqFusion", offset_groups, in_channels, "offset_groups")
            self.offsets = OffsetGenerator(
                spatial_dims,
                m,
                whole_scale(self),
                offset_groups,
                offset_norm,
                offset_init == "published",
                offset_features == "joined",
            )

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        assert guide is not None  # checked by the base
        maps = self._maps(x, guide, size)
        out_guide = guide
        if maps.sharpening is not None:
            out_guide = 2 * guide - self._filter(guide, maps.sharpening, self.highpass_kernel)
        up = maps.up
        if self.offsets is not None:
            up = self.offsets(up, maps.deep, maps.fine, x.shape[2:])
        return Upsampled(up, out_guide)

    def kernels(self, x: Tensor, guide: Tensor | None = None) -> dict[str, Kernels]:
        assert guide is not None
        size = self.output_size(x, guide)
        maps = self._maps(x, guide, size)
        kernels = {}
        if maps.smooth is not None:
            kernels["lowpass"] = Kernels(maps.smooth[:, None], self.lowpass_kernel, "nearest", tuple(x.shape[2:]))
        if maps.sharpening is not None:
            kernels["highpass"] = Kernels(maps.sharpening[:, None], self.highpass_kernel, "nearest", size)
        return kernels

    def offset_field(self, x: Tensor, guide: Tensor | None = None) -> Tensor | None:
        assert guide is not None
        if self.offsets is None:
            return None
        size = self.output_size(x, guide)
        maps = self._maps(x, guide, size)
        return self.offsets.field(maps.deep, maps.fine, size).unflatten(1, (self.spatial_dims, -1))

    def _maps(self, x: Tensor, guide: Tensor, size: tuple[int, ...]) -> _Maps:
        fine, deep = self.compress_guide(guide), self.compress(x)
        sharpening = None
        if self.highpass is not None:
            sharpening = self._tapered(self.highpass, fine, self.highpass_kernel)
            fine = 2 * fine - self._filter(fine, sharpening, self.highpass_kernel)
        deep_smooth, deep_sharpening = side_by_side(deep, self.lowpass, self.highpass)
        smooth = self._lowpass_logits(fine, deep_smooth)
        # one call for all maps that the same kernels enlarge
        low = x if deep_sharpening is None else torch.cat([x, deep_sharpening], 1)
        enlarged = read_nearest(low, size) if smooth is None else self._filter(low, smooth, self.lowpass_kernel)
        if sharpening is not None:
            sharpening = sharpening + enlarged[:, x.shape[1] :]
        return _Maps(fine, deep, enlarged[:, : x.shape[1]], smooth, sharpening)

    def _lowpass_logits(self, fine: Tensor, deep_logits: Tensor | None) -> Tensor | None:
        """Logits of each output pixel's kernel; the deep part is upsampled by the fine part."""
        if self.lowpass is None or deep_logits is None:
            return None
        logits = self._tapered(self.lowpass, fine, self.lowpass_kernel)
        return logits + self._filter(deep_logits, logits, self.lowpass_kernel)

    def _filter(self, x: Tensor, logits: Tensor, kernel_size: int) -> Tensor:
        return reassemble(x, logits[:, None], kernel_size=kernel_size, border=self.border, softmax=True)

    def _tapered(self, layer: nn.Conv2d | nn.Conv3d, x: Tensor, kernel_size: int) -> Tensor:
        """``layer(x)``, plus the logarithm of the Hamming window if enabled, which tapers the softmax.

        The window is computed on each call: a buffer outside the state dict would not survive ``to_empty``.
        """
        logits: Tensor = layer(x)
        if not self.hamming_window:
            return logits
        window = _log_hamming(self.spatial_dims, kernel_size, logits)
        return logits + window.reshape(-1, *[1] * self.spatial_dims)


def _compressed(channels: int | Literal["quarter"] | None, both: int) -> int:
    """The channels that kernels are predicted from, for maps with ``both`` channels together."""
    if channels is None:
        return rounded_channels(both / 4, _CHANNELS_PER_NORM_GROUP, 64)
    return max(1, both // 4) if isinstance(channels, str) else channels


class _Maps(NamedTuple):
    """Intermediate maps: compressed, enlarged, and the logits of both filters."""

    fine: Tensor
    deep: Tensor
    up: Tensor
    smooth: Tensor | None
    sharpening: Tensor | None


class OffsetGenerator(nn.Module):
    """Moves each pixel of the upsampled map by a predicted offset, in pixels of the deep map.

    Offsets come from each pixel's similarity to its neighbors and, unless not ``joined``, from the compressed maps, at
    both resolutions.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        scale: tuple[int, ...],
        groups: int,
        norm: bool,
        published_init: bool,
        joined: bool,
    ) -> None:
        super().__init__()
        self.scale, self.joined = scale, joined
        similarities = 3**spatial_dims - 1
        width, scope_width = (channels + similarities,) * 2 if joined else (similarities, channels)
        maps = spatial_dims * groups
        norm_groups = max(1, channels // _CHANNELS_PER_NORM_GROUP)
        if norm and channels % norm_groups:
            raise ValueError(
                f"FreqFusion: compressed_channels must fill {norm_groups} groups evenly, got {channels}; a multiple of "
                f"{_CHANNELS_PER_NORM_GROUP} always does"
            )
        self.norm_guide = GroupNorm(norm_groups, channels) if norm else nn.Identity()
        self.norm = GroupNorm(norm_groups, channels) if norm else nn.Identity()
        self.offset = conv(spatial_dims, width, maps * prod(scale), 3)
        self.scope = conv(spatial_dims, scope_width, maps * prod(scale), 3)
        self.offset_guide = conv(spatial_dims, width, maps, 3)
        self.scope_guide = conv(spatial_dims, scope_width, maps, 3)
        for layer in (self.offset, self.scope, self.offset_guide, self.scope_guide):
            _init(layer, xavier=published_init)
        if not published_init:
            for layer in (self.scope, self.scope_guide):
                nn.init.zeros_(layer.weight)

    def forward(self, up: Tensor, deep: Tensor, fine: Tensor, deep_size: torch.Size) -> Tensor:
        """up [B, C, *out], deep [B, m, *in], fine [B, m, *out] -> [B, C, *out]."""
        size = up.shape[2:]
        offsets = self.field(deep, fine, size)
        # from pixels of the deep map to pixels of the upsampled one, the last axis first
        wide = wide_dtype(offsets.dtype)
        ratios = [big / small for big, small in zip(size, deep_size, strict=True)][::-1]
        shifts = offsets.to(wide).chunk(len(size), 1)
        return sample_offsets(up, torch.cat([shift * ratio for shift, ratio in zip(shifts, ratios, strict=True)], 1))

    def field(self, deep: Tensor, fine: Tensor, size: Sequence[int]) -> Tensor:
        """Offsets [B, d * groups, *out] in pixels of the deep map, the last axis first."""
        low_offset, low_scope = self._predicted(self.norm(deep), self.offset, self.scope)
        high_offset, high_scope = self._predicted(self.norm_guide(fine), self.offset_guide, self.scope_guide)
        offsets = self._at(low_offset, size) + high_offset
        return offsets * torch.sigmoid(self._at(low_scope, size) + high_scope)

    def _predicted(self, x: Tensor, offset: nn.Module, scope: nn.Module) -> list[Tensor]:
        if self.joined:
            return side_by_side(torch.cat([x, _similarity(x)], 1), offset, scope)
        return [offset(_similarity(x)), scope(x)]

    def _at(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        return read_nearest(pixel_shuffle(maps, self.scale), size)


def _similarity(x: Tensor) -> Tensor:
    """The cosine similarity of each pixel to its neighbors, excluding itself."""
    taps = 3 ** (x.ndim - 2)
    cosines = neighbor_similarity(x, x, kernel_size=3, dilation=_SIMILARITY_DILATION, metric="cosine")
    return torch.cat([cosines[:, : taps // 2], cosines[:, taps // 2 + 1 :]], 1)


def _log_hamming(spatial_dims: int, kernel_size: int, like: Tensor) -> Tensor:
    """[kernel_size**d]: logarithm of the product of Hamming windows along the axes, on the device of ``like``."""
    line = torch.hamming_window(kernel_size, periodic=False, dtype=wide_dtype(like.dtype), device=like.device).log()
    window = torch.zeros_like(line[:1])
    for _ in range(spatial_dims):
        window = (window[:, None] + line).flatten()
    return window.to(like.dtype)


def _init(layer: nn.Conv2d | nn.Conv3d, xavier: bool) -> None:
    if xavier:
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=0.001)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
