"""ResNetV2 with weight-standardized convolutions and group norm (BiT), TransUNet's convolutional encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StandardizedConv2d(nn.Conv2d):
    """Convolution whose kernels are standardized to zero mean and unit variance each (arXiv 1903.10520)."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> StandardizedConv2d:
    return StandardizedConv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(32, channels), channels, eps=1e-6)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a residual; the stride is on the 3x3."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(in_channels, mid_channels, 1), _norm(mid_channels)
        self.conv2, self.norm2 = _conv(mid_channels, mid_channels, 3, stride), _norm(mid_channels)
        self.conv3, self.norm3 = _conv(mid_channels, out_channels, 1), _norm(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            # one group per channel and torch's default eps, as published
            self.shortcut = nn.Sequential(
                _conv(in_channels, out_channels, 1, stride), nn.GroupNorm(out_channels, out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)))
        out = F.relu(self.norm2(self.conv2(out)))
        return F.relu(self.norm3(self.conv3(out)) + self.shortcut(x))


class ResNetV2(nn.Module):
    """Returns the deepest map at 1/16 and the skips at 1/8, 1/4 and 1/2, deepest first.

    Args:
        in_channels: channels of the image.
        width: channels of the root; the stages have 4, 8 and 16 times as many.
        units: bottlenecks of each of the three stages.
    """

    def __init__(self, in_channels: int, width: int, units: Sequence[int]) -> None:
        super().__init__()
        self.root = nn.Sequential(_conv(in_channels, width, 7, 2), _norm(width), nn.ReLU())
        stages, channels = [], width
        for number, count in enumerate(units):
            out, mid = 4 * width * 2**number, width * 2**number
            blocks = [Bottleneck(channels, mid, out, stride=1 if number == 0 else 2)]
            blocks += [Bottleneck(out, mid, out, stride=1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            channels = out
        self.stages = nn.ModuleList(stages)
        self.out_channels = channels
        self.skip_channels = (8 * width, 4 * width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        height, width = x.shape[2:]
        x = self.root(x)
        skips = [x]
        x = F.max_pool2d(x, 3, stride=2)  # without padding, as published: one pixel short of 1/4
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number < len(self.stages) - 1:
                stride = 4 * 2**number
                missing = (height // stride - x.shape[2], width // stride - x.shape[3])
                skips.append(F.pad(x, (0, missing[1], 0, missing[0])))
        return x, skips[::-1]
