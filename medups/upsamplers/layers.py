"""Layers and checks that several upsamplers share."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, cast

import torch
from torch import Tensor, nn

from medups.ops import reassemble
from medups.ops.backend import needs_builtin_operators
from medups.upsamplers.base import Upsampler

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
CONV_CLASSES: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


def conv(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 1, *, bias: bool = True, groups: int = 1
) -> nn.Conv2d | nn.Conv3d:
    """A convolution that keeps the size, with a zero border."""
    conv_class = CONV_CLASSES[spatial_dims]
    return conv_class(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias, groups=groups)


def side_by_side(x: Tensor, *layers: nn.Module | None) -> list[Any]:
    """The output of each layer for ``x``, None for None; convolutions of the same shape are computed as one."""
    given = [layer for layer in layers if layer is not None]
    joined: list[Tensor] = []
    if all(type(layer) in CONV_CLASSES.values() for layer in given) and len(given) > 1:
        convs = cast(list[nn.Conv2d], given)
        weight, bias = (torch.cat([getattr(conv, name) for conv in convs]) for name in ("weight", "bias"))
        out = convs[0]._conv_forward(x, weight, bias)
        joined = list(out.split([conv.out_channels for conv in convs], 1))
    outputs = iter(joined or [layer(x) for layer in given])
    return [None if layer is None else next(outputs) for layer in layers]


def rounded_channels(channels: float, multiple: int, most: int) -> int:
    """``channels`` rounded up to a ``multiple``, at least one multiple and at most ``most``."""
    return min(most, multiple * max(1, ceil(channels / multiple)))


class GroupNorm(nn.GroupNorm):
    """Group norm that also accepts a map of one pixel in a batch of one, which torch's module rejects.

    Maps of a frozen encoder are made contiguous: on a CPU torch's gradient crashes if a channels_last map needs none.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad and torch.is_grad_enabled() and not needs_builtin_operators():
            x = x.contiguous()
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def channels_last(x: Tensor) -> Tensor:
    """``x`` with a pixel's channels adjacent in memory, the fastest layout for convolutions of large maps."""
    if needs_builtin_operators():  # vmap does not support memory formats
        return x
    return x.contiguous(memory_format=_CHANNELS_LAST[x.ndim])


def whole_scale(upsampler: Upsampler) -> tuple[int, ...]:
    """Scale factors of a method whose parameters depend on them. Raises ValueError unless they are whole numbers."""
    scale = upsampler.scale_factor
    if any(s != int(s) for s in scale):
        raise ValueError(f"{type(upsampler).__name__}: scale_factor must be whole numbers, got {scale}")
    return tuple(int(s) for s in scale)


def odd_kernel(name: str, kernel_size: int, argument: str = "kernel_size") -> int:
    """``kernel_size``. Raises ValueError if it is even or not positive."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"{name}: {argument} must be odd and positive, got {kernel_size}")
    return kernel_size


def dividing_groups(name: str, groups: int, channels: int, argument: str = "groups", of: str = "in_channels") -> int:
    """``groups``. Raises ValueError if they do not divide ``channels``."""
    if groups < 1 or channels % groups:
        raise ValueError(f"{name}: {argument} must divide {of}={channels}, got {groups}")
    return groups


def pixel_shuffle(x: Tensor, scale: Sequence[int]) -> Tensor:
    """[B, C * prod(scale), *in] -> [B, C, *(scale * in)], like torch's pixel_shuffle for any number of axes."""
    dims = len(scale)
    x = x.unflatten(1, (-1, *scale))
    order = [0, 1]
    for axis in range(dims):
        order += [2 + dims + axis, 2 + axis]
    x = x.permute(order)
    for axis in range(dims):
        x = x.flatten(2 + axis, 3 + axis)
    return x


def read_nearest(x: Tensor, size: Sequence[int]) -> Tensor:
    """``x`` [B, C, *in] read at ``floor(p * in / out)``."""
    for axis, out in enumerate(size):
        n = x.shape[2 + axis]
        if n == out:
            continue
        if needs_builtin_operators():  # no branches on sizes, which may be symbolic there
            x = x.index_select(2 + axis, torch.arange(out, device=x.device) * n // out)
        elif n and out % n == 0:
            x = x.repeat_interleave(out // n, 2 + axis)
        elif x.is_cuda and x.numel():  # the gradient of indexing is nondeterministic on CUDA
            kernel = x.new_ones(()).expand(x.shape[0], 1, 1, *size)
            return reassemble(x, kernel, kernel_size=1)
        else:
            x = x.index_select(2 + axis, torch.arange(out, device=x.device) * n // out)
    return x


def add_nearest(large: Tensor, small: Tensor) -> Tensor:
    """``large`` [B, C, *out] plus ``small`` [B, C, *in] read at ``floor(p * in / out)``.

    At whole ratios ``small`` is broadcast, not enlarged.
    """
    size, n_in = large.shape[2:], small.shape[2:]
    if needs_builtin_operators() or min(n_in) == 0 or any(out % n for out, n in zip(size, n_in, strict=True)):
        return large + read_nearest(small, size)
    for axis, (out, n) in enumerate(zip(size, n_in, strict=True)):
        large, small = large.unflatten(2 + 2 * axis, (n, out // n)), small.unsqueeze(3 + 2 * axis)
    total = large + small
    for axis in range(len(size)):
        total = total.flatten(2 + axis, 3 + axis)
    return total
