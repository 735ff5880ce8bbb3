"""What several upsamplers are built of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medups.ops import reassemble
from medups.upsamplers.base import Upsampler

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
CONVS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


def conv(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 1, *, bias: bool = True, groups: int = 1
) -> nn.Conv2d | nn.Conv3d:
    """Convolution that keeps the size, zero border."""
    make = CONVS[spatial_dims]
    return make(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias, groups=groups)


class GroupNorm(nn.GroupNorm):
    """Takes a map of one pixel in a batch of one, too, which torch's refuses however many channels a group has."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def channels_last(x: Tensor) -> Tensor:
    """``x`` with the channels of a pixel side by side: what convolutions of large maps read and write fastest."""
    return x.contiguous(memory_format=_CHANNELS_LAST[x.ndim])


def whole_scale(upsampler: Upsampler) -> tuple[int, ...]:
    """The scale factors of a method whose parameters depend on them. Raises ValueError unless they are whole."""
    scale = upsampler.scale_factor
    if any(s != int(s) for s in scale):
        raise ValueError(f"{type(upsampler).__name__}: scale_factor must be whole numbers, got {scale}")
    return tuple(int(s) for s in scale)


def odd_kernel(name: str, kernel_size: int, argument: str = "kernel_size") -> int:
    """``kernel_size``; raises ValueError for an even one."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"{name}: {argument} must be odd and positive, got {kernel_size}")
    return kernel_size


def dividing_groups(name: str, groups: int, channels: int, argument: str = "groups") -> int:
    """``groups``; raises ValueError unless they divide ``channels``."""
    if groups < 1 or channels % groups:
        raise ValueError(f"{name}: {argument} must divide in_channels={channels}, got {groups}")
    return groups


def pixel_shuffle(x: Tensor, scale: Sequence[int]) -> Tensor:
    """[B, C * prod(scale), *in] -> [B, C, *(scale * in)], as torch.nn.functional.pixel_shuffle in any dimension."""
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
        if n and out % n == 0:
            x = x.repeat_interleave(out // n, 2 + axis)
        elif x.is_cuda and x.numel():  # the gradient of an index adds up in no fixed order there
            one = x.new_ones(()).expand(x.shape[0], 1, 1, *size)
            return reassemble(x, one, kernel_size=1)
        else:
            x = x.index_select(2 + axis, torch.arange(out, device=x.device) * n // out)
    return x


def add_nearest(large: Tensor, small: Tensor) -> Tensor:
    """``large`` [B, C, *out] plus ``small`` [B, C, *in] read at ``floor(p * in / out)``; at whole ratios unenlarged."""
    size, n_in = large.shape[2:], small.shape[2:]
    if min(n_in) == 0 or any(out % n for out, n in zip(size, n_in, strict=True)):
        return large + read_nearest(small, size)
    for axis, (out, n) in enumerate(zip(size, n_in, strict=True)):
        large, small = large.unflatten(2 + 2 * axis, (n, out // n)), small.unsqueeze(3 + 2 * axis)
    total = large + small
    for axis in range(len(size)):
        total = total.flatten(2 + axis, 3 + axis)
    return total
