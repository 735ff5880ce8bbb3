"""The layers as one operator with a custom gradient, computed in cache-sized blocks of pixels.

Apart from the group norm, the layers act on each pixel independently, so they run on blocks of rows (one pixel's
channels each) that fit in the cache. The norm is a scale and a shift of each sample's channels, folded into the last
layer's weights.

The operators take the members of :class:`LogitLayers` as separate tensors: torch.library does not support structures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from medups.ops.dtypes import wide_dtype
from medups.ops.kernel_prediction.layers import LogitLayers
from medups.ops.registration import operator
from medups.ops.taps.cpu import CACHED_ELEMENTS


def _group_matrices(mix: Tensor) -> Tensor:
    """[groups, M // groups, M // groups] of [M, M // groups]."""
    return mix.unflatten(0, (-1, mix.shape[1]))


def _grouped(rows: Tensor, mix: Tensor) -> Tensor:
    """[groups, N, M // groups], a view of [N, M]."""
    return rows.unflatten(1, (-1, mix.shape[1])).transpose(0, 1)


_LAYERS = (
    "Tensor query, Tensor center, Tensor mix, Tensor mix_bias, Tensor norm_weight, Tensor norm_bias, Tensor weight, "
    "Tensor bias, int norm_groups, float eps"
)


@operator(
    "medups::kernel_logits",
    mutates_args=(),
    schema=f"(Tensor around, {_LAYERS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def logits(around: Tensor, query: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits [B, N, K]; for the gradient also the hidden map [B, N, M], mean and inverse deviation [B, groups]."""
    hidden = torch.empty_like(around)
    out, mean, rstd = _logits(hidden, around, query, LogitLayers(*rest[:7]), *rest[7:])
    return out, hidden, mean, rstd


@operator(
    "medups::kernel_logits_in_place", mutates_args=("around",), schema=f"(Tensor(a!) around, {_LAYERS}) -> Tensor"
)
def logits_in_place(around: Tensor, query: Tensor, *rest: Any) -> Tensor:
    """The logits only; overwrites ``around`` with the hidden map."""
    return _logits(around, around, query, LogitLayers(*rest[:7]), *rest[7:])[0]


@logits_in_place.register_fake
def _(around: Tensor, *rest: Any) -> Tensor:
    return around.new_empty(*around.shape[:2], rest[6].shape[0])


def _logits(
    hidden: Tensor,
    around: Tensor,
    query: Tensor,
    layers: LogitLayers,
    norm_groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, mean and inverse deviation; fills ``hidden``, which may be ``around``."""
    center, mix, mix_bias, norm_weight, norm_bias, weight, bias = layers
    batch, pixels, channels = around.shape
    wide = wide_dtype(around.dtype)
    mean, variance = around.new_zeros(2, batch, channels, dtype=wide)
    for sample, part in _blocks_of_rows(around):
        row = hidden[sample, part]
        torch.baddbmm(
            _grouped(mix_bias[None], mix),
            _grouped(_difference(around, query, center, sample, part), mix),  # a temporary, freed immediately
            _group_matrices(mix).mT,
            out=_grouped(row, mix),
        )
        row.relu_()
        # running mean and sum of squared deviations of each channel, block by block
        values, before, count = row.to(wide), part.start, row.shape[0]
        block_mean = values.mean(0)
        shift = block_mean - mean[sample]
        spread = (values - block_mean).square_().sum(0)
        variance[sample] += spread + shift.square() * (before * count / (before + count))
        mean[sample] += shift * (count / (before + count))
    group_mean = mean.unflatten(1, (norm_groups, -1)).mean(2)
    deviation = (mean - _spread(group_mean, channels)).square_() + variance / max(1, pixels)
    rstd = torch.rsqrt(deviation.unflatten(1, (norm_groups, -1)).mean(2) + eps)
    scale, shift = _affine(group_mean, rstd, norm_weight, norm_bias)
    offset = bias + (weight * shift[:, None]).sum(2)
    folded = (weight * scale[:, None]).to(around.dtype)
    out = torch.baddbmm(offset[:, None].to(around.dtype), hidden, folded.transpose(1, 2))
    return out, group_mean, rstd


@logits.register_fake
def _(around: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight, norm_groups = rest[6], rest[8]
    batch, pixels, _ = around.shape
    statistic = around.new_empty(batch, norm_groups, dtype=wide_dtype(around.dtype))
    logits = around.new_empty(batch, pixels, weight.shape[0])
    return logits, torch.empty_like(around), statistic, torch.empty_like(statistic)


@operator("medups::kernel_logits_backward", mutates_args=())
def _kernel_logits_backward(
    grad: Tensor,
    around: Tensor,
    query: Tensor,
    center: Tensor,
    mix: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight: Tensor,
    hidden: Tensor,
    mean: Tensor,
    rstd: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    dtype, wide, groups = around.dtype, mean.dtype, mean.shape[1]
    channels = around.shape[2]
    scale, shift = _affine(mean, rstd, norm_weight, norm_bias)
    to_folded = torch.bmm(grad.transpose(1, 2), hidden).to(wide)
    to_offset = grad.sum(1, dtype=wide)
    to_weight = (to_folded * scale[:, None] + to_offset[..., None] * shift[:, None]).sum(0)
    # the folded weights depend on scale and shift, which depend on the mean and deviation of each group
    to_shift = (to_offset[..., None] * weight).sum(1)
    to_scale = (to_folded * weight).sum(1) - to_shift * _spread(mean, channels)
    to_mean = -(to_shift * scale).unflatten(1, (groups, -1)).sum(2)
    to_rstd = (to_scale * norm_weight).unflatten(1, (groups, -1)).sum(2)
    count = max(1, hidden.shape[1] * channels // groups)
    slope = -to_rstd * rstd**3 / count
    start = _spread(to_mean / count - slope * mean, channels).to(dtype)
    slope = _spread(slope, channels).to(dtype)
    folded = (weight * scale[:, None]).to(dtype)
    to_around, to_query = torch.empty_like(around), torch.empty_like(query)
    to_center, to_mix, to_mix_bias = (torch.zeros_like(value, dtype=wide) for value in (center, mix, norm_bias))
    for sample, part in _blocks_of_rows(around):
        row = hidden[sample, part]
        to_row = torch.addmm(start[sample], grad[sample, part], folded[sample]).addcmul_(row, slope[sample])
        _relu_backward_(to_row, row)
        difference = _difference(around, query, center, sample, part)
        to_mix += (_grouped(to_row, mix).mT @ _grouped(difference, mix)).flatten(0, 1)
        to_mix_bias += to_row.sum(0, dtype=wide)
        to_part = to_around[sample, part]
        torch.bmm(_grouped(to_row, mix), _group_matrices(mix), out=_grouped(to_part, mix))
        _relu_backward_(to_part, difference)
        torch.mm(to_part, center, out=to_query[sample, part])
        to_center -= to_part.t() @ query[sample, part]
    return (
        to_around,
        to_query.neg_(),
        to_center.to(dtype),
        to_mix.to(dtype),
        to_mix_bias.to(dtype),
        (to_scale * _spread(rstd, channels)).sum(0).to(dtype),
        to_shift.sum(0).to(dtype),
        to_weight.to(dtype),
        to_offset.sum(0).to(dtype),
    )


@_kernel_logits_backward.register_fake
def _(grad: Tensor, around: Tensor, query: Tensor, center: Tensor, mix: Tensor, *rest: Any) -> Any:
    norm_weight, norm_bias, weight = rest[:3]
    like = (around, query, center, mix, norm_bias, norm_weight, norm_bias, weight)
    return *(torch.empty_like(value) for value in like), weight.new_empty(weight.shape[0])


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    around, query, center, mix, _, norm_weight, norm_bias, weight, *_ = inputs
    ctx.save_for_backward(around, query, center, mix, norm_weight, norm_bias, weight, *output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
    return *_kernel_logits_backward(grad.contiguous(), *ctx.saved_tensors), None, None


logits.register_autograd(_backward, setup_context=_save)


def _blocks_of_rows(rows: Tensor) -> Iterator[tuple[int, slice]]:
    """The sample and rows of each block; on a CPU, a block fits in the cache."""
    batch, pixels, channels = rows.shape
    step = max(1, CACHED_ELEMENTS // channels) if rows.device.type == "cpu" else max(1, pixels)
    for sample in range(batch):
        for begin in range(0, pixels, step):
            yield sample, slice(begin, min(begin + step, pixels))


def _difference(around: Tensor, query: Tensor, center: Tensor, sample: int, part: slice) -> Tensor:
    return torch.addmm(around[sample, part], query[sample, part], center.t(), alpha=-1).relu_()


def _relu_backward_(grad: Tensor, activated: Tensor) -> None:
    """The gradient of a ReLU from its output, in place."""
    torch.ops.aten.threshold_backward.grad_input(grad, activated, 0, grad_input=grad)


def _affine(mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The norm of each sample's channels as ``scale * x + shift``, both [B, M]."""
    scale = _spread(rstd, weight.shape[0]) * weight
    return scale, bias - _spread(mean, weight.shape[0]) * scale


def _spread(values: Tensor, channels: int) -> Tensor:
    """[B, groups] to [B, M]."""
    return values.repeat_interleave(channels // values.shape[1], 1)
