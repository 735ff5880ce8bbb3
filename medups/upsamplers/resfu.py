"""ReSFU: Refreshed Similarity-based Feature Upsampling (arXiv 2407.02283).

The deep map provides the keys and the guide the queries. Queries are aligned with the keys by a guided filter
(semantic) and with themselves by a Gaussian (detail); a paired central difference convolution turns each
pair into the logits of a kernel, and the kernels reassemble the deep map at fine-grained neighbors.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from medups.ops import guided_filter, neighbor_similarity, reassemble
from medups.ops.blurring import gaussian_blur
from medups.ops.grid import taps_inside
from medups.ops.kernel_prediction import LogitLayers, kernel_logits
from medups.ops.kernel_prediction.function import block_diagonal
from medups.ops.paired_differences import key_neighborhood
from medups.ops.reassembly import TapMode
from medups.ops.resized_norms import group_norm_as_resized
from medups.ops.resizing import resize_linear
from medups.ops.similarity import Metric
from medups.upsamplers.base import Kernels, Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import GroupNorm, channels_last, conv, odd_kernel, rounded_channels

_NORM_GROUPS = 8
_WIDENING = 4  # ratio of hidden to embedding channels in a similarity block


class PairedDifference(nn.Module):
    """Kernel logits from the paired central difference of keys and queries (ReSFU, Eq. 8 to 10).

    Input: key [B, E, *in or *out] and query [B, E, *out]; output: logits [B, kernel_size**d, *out].
    """

    def __init__(self, spatial_dims: int, embed_channels: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        hidden = _WIDENING * embed_channels
        self.groups = groups
        self.norm = GroupNorm(_NORM_GROUPS, embed_channels)
        self.weight = nn.Parameter(torch.empty(hidden, embed_channels // groups, *[kernel_size] * spatial_dims))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.mix = conv(spatial_dims, hidden, hidden, groups=groups)
        self.mix_norm = GroupNorm(_NORM_GROUPS, hidden)
        self.logits = conv(spatial_dims, hidden, kernel_size**spatial_dims)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, key: Tensor, query: Tensor, dilation: tuple[int, ...]) -> Tensor:
        norm, size = self.norm, query.shape[2:]
        key, query = channels_last(key), channels_last(query)
        if key.shape[2:] == size:
            key = norm(key)
        else:
            key = group_norm_as_resized(key, size, norm.num_groups, norm.weight, norm.bias, norm.eps)
        query = norm(query)
        around = key_neighborhood(key, query, self.weight, self.bias, dilation, self.groups)
        return kernel_logits(around, query, self._layers(), norm_groups=self.mix_norm.num_groups, eps=self.mix_norm.eps)

    def _layers(self) -> LogitLayers:
        assert self.mix.bias is not None
        assert self.logits.bias is not None
        return LogitLayers(
            center=block_diagonal(self.weight.flatten(2).sum(2), self.groups),
            mix=self.mix.weight.flatten(1),
            mix_bias=self.mix.bias,
            norm_weight=self.mix_norm.weight,
            norm_bias=self.mix_norm.bias,
            weight=self.logits.weight.flatten(1),
            bias=self.logits.bias,
        )


class ReSFU(Upsampler):
    """ReSFU upsampling of ``x`` [B, C, *in] to the size of ``guide`` [B, Cg, *out], at any ratio, in one step.

    Args:
        kernel_size: odd; taps are one input pixel apart.
        embed_channels: channels of queries and keys; a multiple of ``groups`` and of 8. None for as many as ``x`` has,
            rounded up to a multiple of 8, and at most 32: cheaper in thin networks.
        groups: groups of the paired difference convolution.
        radius, eps, subsample: arguments of the guided filter, in guide pixels.
        semantic_alignment: filter queries before comparing them with keys.
        detail_alignment: compare queries with their blurred neighborhood rather than the unblurred one.
        similarity: ``paired_difference``; or ``dot`` or ``cosine`` of query and key, which have no parameters.
        neighbors: ``fine`` taps are around each output pixel's exact position; ``coarse`` taps are input pixels.

    Further arguments and errors: see :class:`Upsampler`. The guide is returned unchanged.
    """

    needs_guide = True
    parts = (
        Part("paired_difference", ("semantic.*", "detail.*"), adaptive=0.3),
        Part("embedding", ("query.*", "key.*")),
    )

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        kernel_size: int = 3,
        embed_channels: int | None = 32,
        groups: int = 4,
        radius: int = 8,
        eps: float = 1e-3,
        subsample: int = 2,
        semantic_alignment: bool = True,
        detail_alignment: bool = True,
        similarity: Literal["paired_difference", "dot", "cosine"] = "paired_difference",
        neighbors: Literal["fine", "coarse"] = "fine",
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        assert guide_channels is not None  # checked by the base
        if embed_channels is None:
            embed_channels = rounded_channels(in_channels, _NORM_GROUPS, 32)
        if groups < 1 or embed_channels % _NORM_GROUPS or embed_channels % groups:
            raise ValueError(
                f"ReSFU: embed_channels must be a multiple of {_NORM_GROUPS} and of groups={groups}, "
                f"got {embed_channels}"
            )
        if radius < 0 or eps <= 0 or subsample < 1:
            raise ValueError(
                "ReSFU: radius must be 0 or more, eps above 0 and subsample 1 or more, "
                f"got {radius}, {eps} and {subsample}"
            )
        if similarity not in ("paired_difference", "dot", "cosine"):
            raise ValueError(f"ReSFU: similarity must be 'paired_difference', 'dot' or 'cosine', got {similarity!r}")
        if neighbors not in ("fine", "coarse"):
            raise ValueError(f"ReSFU: neighbors must be 'fine' or 'coarse', got {neighbors!r}")
        self.kernel_size = odd_kernel("ReSFU", kernel_size)
        self.radius, self.eps, self.subsample = radius, eps, subsample
        self.semantic_alignment, self.detail_alignment = semantic_alignment, detail_alignment
        self.taps: TapMode = "linear" if neighbors == "fine" else "nearest"
        self.query_norm = GroupNorm(_input_groups(guide_channels), guide_channels)
        self.query = conv(spatial_dims, guide_channels, embed_channels)
        self.key_norm = GroupNorm(_input_groups(in_channels), in_channels)
        self.key = conv(spatial_dims, in_channels, embed_channels)
        self.semantic, self.detail = (
            PairedDifference(spatial_dims, embed_channels, kernel_size, groups)
            if similarity == "paired_difference"
            else InnerProduct(kernel_size, similarity)
            for _ in range(2)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        assert guide is not None  # checked by the base
        logits = self.logits(x, guide)[:, None]
        return Upsampled(reassemble(x, logits, kernel_size=self.kernel_size, taps=self.taps, softmax=True), guide)

    def kernels(self, x: Tensor, guide: Tensor | None = None) -> dict[str, Kernels]:
        assert guide is not None
        return {"kernel": Kernels(self.logits(x, guide)[:, None], self.kernel_size, self.taps, tuple(x.shape[2:]))}

    def logits(self, x: Tensor, guide: Tensor) -> Tensor:
        """Logits of each output pixel's kernel [B, kernel_size**d, *out], minus infinity for taps outside the map."""
        n_in, n_out = x.shape[2:], guide.shape[2:]
        query = self.query(self.query_norm(guide))
        key = self.key(self.key_norm(x))
        # the ratio, rounded: taps are one pixel of the deep map apart
        dilation = tuple(max(1, (2 * big + small) // (2 * small)) for big, small in zip(n_out, n_in, strict=True))
        if self.semantic_alignment:
            keys = resize_linear(key, n_out, step=self.subsample)
            aligned = guided_filter(query, keys, radius=self.radius, eps=self.eps, subsample=self.subsample)
            logits = self.semantic(key, aligned, dilation)
            del keys, aligned  # frees memory
        else:
            logits = self.semantic(key, query, dilation)
        logits = logits + self.detail(gaussian_blur(query) if self.detail_alignment else query, query, dilation)
        inside = taps_inside(n_in, n_out, self.kernel_size, self.taps == "linear", x.device)
        return logits.masked_fill(~inside, float("-inf"))


class InnerProduct(nn.Module):
    """Kernel logits without parameters: dot product or cosine of a query and the enlarged keys around it."""

    def __init__(self, kernel_size: int, metric: Metric) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.metric: Metric = metric

    def forward(self, key: Tensor, query: Tensor, dilation: tuple[int, ...]) -> Tensor:
        large = resize_linear(key, query.shape[2:])
        return neighbor_similarity(query, large, kernel_size=self.kernel_size, dilation=dilation, metric=self.metric)


def _input_groups(channels: int) -> int:
    """The number of norm groups: the largest divisor of ``channels`` that is at most 32."""
    return next(groups for groups in range(min(32, channels), 0, -1) if channels % groups == 0)
