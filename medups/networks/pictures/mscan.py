"""MSCAN, the convolutional encoder of SegNeXt (arXiv 2209.08575). Parameter names are mmsegmentation's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STRIPS = (7, 11, 21)
_MLP_RATIOS = (8, 8, 4, 4)
_LAYER_SCALE = 1e-2


class MSCAN(nn.Module):
    """Four maps at 1/4, 1/8, 1/16 and 1/32 of the size, finest first.

    Args:
        channels, blocks: of the four stages.
        drop_path: rate of the last block; earlier ones have less.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int], drop_path: float = 0.1) -> None:
        super().__init__()
        rates = iter(torch.linspace(0, drop_path, sum(blocks)).tolist())
        self.stages = len(channels)
        for number, (width, depth, ratio) in enumerate(zip(channels, blocks, _MLP_RATIOS, strict=True), 1):
            embed: nn.Module = Stem(width) if number == 1 else Embedding(channels[number - 2], width)
            self.add_module(f"patch_embed{number}", embed)
            self.add_module(f"block{number}", nn.Sequential(*(Block(width, ratio, next(rates)) for _ in range(depth))))
            self.add_module(f"norm{number}", nn.LayerNorm(width))
        self.apply(_initialize)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"block{number}")(self.get_submodule(f"patch_embed{number}")(x))
            x = self.get_submodule(f"norm{number}")(x.movedim(1, -1)).movedim(-1, 1)
            maps.append(x)
        return maps


class Stem(nn.Module):
    """Two 3x3 convolutions with stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, 2, 1),
            nn.BatchNorm2d(width // 2),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, 2, 1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(x)
        return out


class Embedding(nn.Module):
    """A 3x3 convolution with stride 2 between stages."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(x))
        return out


class Block(nn.Module):
    """Convolutional attention and an MLP, both scaled and added."""

    def __init__(self, width: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.attn, self.mlp = Attention(width), MLP(width, mlp_ratio * width)
        self.layer_scale_1 = nn.Parameter(torch.full((width,), _LAYER_SCALE))
        self.layer_scale_2 = nn.Parameter(torch.full((width,), _LAYER_SCALE))
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._dropped(self.layer_scale_1[:, None, None] * self.attn(self.norm1(x)))
        return x + self._dropped(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        """``x``, or in training 0 for some samples (stochastic depth, arXiv 1603.09382)."""
        if not self.training or self.drop_path == 0:
            return x
        kept = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.drop_path)
        return x * kept / (1 - self.drop_path)


class Attention(nn.Module):
    """Gating by large kernels between two projections, and a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(width, width, 1)
        self.spatial_gating_unit = StripConvolutions(width)
        self.proj_2 = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))
        return out + x


class StripConvolutions(nn.Module):
    """The input times a sum of depthwise convolutions: 5x5, followed by pairs of strips 7, 11 and 21 pixels long."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(width, width, 5, padding=2, groups=width)
        for number, length in enumerate(_STRIPS):
            pad = length // 2
            row = nn.Conv2d(width, width, (1, length), padding=(0, pad), groups=width)
            column = nn.Conv2d(width, width, (length, 1), padding=(pad, 0), groups=width)
            self.add_module(f"conv{number}_1", row)
            self.add_module(f"conv{number}_2", column)
        self.conv3 = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.conv0(x)
        total = near
        for number in range(len(_STRIPS)):
            row, column = (self.get_submodule(f"conv{number}_{part}") for part in (1, 2))
            total = total + column(row(near))
        out: Tensor = self.conv3(total) * x
        return out


class MLP(nn.Module):
    """1x1 convolution, depthwise 3x3 convolution, GELU, 1x1 convolution."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, hidden, 1)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.dwconv(self.fc1(x))))
        return out


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
