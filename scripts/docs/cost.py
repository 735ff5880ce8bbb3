"""Parameters and multiply-adds of each upsampler, counted by torch's flop counter."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from medups.report.cost import multiply_adds
from medups.upsamplers import create_upsampler, list_upsamplers

CHANNELS = 256
# SegFormer-B1's head at 512 x 512: stages 1/32, 1/16 and 1/8 enlarged to 1/4 in steps of 2; (input size, count)
SEGFORMER_STEPS = ((16, 1), (32, 2), (64, 3))
# parameters and multiply-adds that each method adds to SegFormer-B1, from the README of SAPA's authors
# (github.com/tiny-smart/sapa, of arXiv 2209.12866)
PUBLISHED = {
    "transposed_conv": "3.5 M, 34.4 G",
    "pixel_shuffle": "3.5 M, 34.4 G",
    "carafe": "0.44 M, 1.45 G",
    "fade": "0.3 M, 2.7 G",
    "sapa": "0.1 M, 1.02 G",
}


def _make(name: str, dims: int = 2) -> nn.Module:
    return create_upsampler(name, spatial_dims=dims, in_channels=CHANNELS, guide_channels=CHANNELS)


def _pair(dims: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.zeros(1, CHANNELS, *[size] * dims)
    return x, torch.zeros(1, CHANNELS, *[2 * size] * dims)


def cost_table() -> Iterator[str]:
    yield (
        "| method | parameters 2-D | multiply-adds per output pixel | parameters 3-D | per output voxel "
        "| six steps of SegFormer-B1 | as published |"
    )
    yield "|---|--:|--:|--:|--:|--:|---|"
    for name in list_upsamplers():
        cells = []
        for dims, size in ((2, 16), (3, 8)):
            module = _make(name, dims)
            pixels = (2 * size) ** dims
            cells.append(f"{sum(p.numel() for p in module.parameters()):,}")
            cells.append(f"{multiply_adds(module, *_pair(dims, size)) / pixels:,.0f}")
        steps = sum(count * multiply_adds(_make(name), *_pair(2, size)) for size, count in SEGFORMER_STEPS)
        weights = 6 * sum(p.numel() for p in _make(name).parameters())
        cells.append(f"{weights / 1e6:.2f} M, {steps / 1e9:.2f} G")
        yield f"| `{name}` | " + " | ".join(cells) + f" | {PUBLISHED.get(name, '')} |"
