"""Scenes with exactly known borders, a small network around one upsampler, and its errors at borders.

A scene has three organs with smooth outlines on a background, drawn with four times the resolution in each direction,
so that each pixel's share of each organ is known. The deep map is that share, averaged over ``ratio`` pixels, lifted to
16 channels by fixed weights, with noise; a perfect upsampler restores the shares with the help of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medups.io.files import write_json
from medups.training.param_groups import parameter_groups
from medups.upsamplers import Upsampler, create_upsampler

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SIZE, ORGANS, CHANNELS, GUIDE = 64, 3, 16, 16
OUTPUT = Path(__file__).parents[2] / "docs" / "studies"
_FINER = 4
_INTENSITIES = (0.1, 0.45, 0.7, 0.95)  # background, then the organs


@dataclass(frozen=True)
class Scenes:
    """Images [B, 1, SIZE, SIZE] and shares of background and organs [B, ORGANS + 1, SIZE, SIZE]."""

    image: Tensor
    share: Tensor

    def deep(self, ratio: int, noise: float = 0.05) -> Tensor:
        """[B, CHANNELS, SIZE / ratio, SIZE / ratio]."""
        lift = torch.randn(CHANNELS, ORGANS + 1, 1, 1, generator=torch.Generator().manual_seed(0))
        deep = F.conv2d(F.avg_pool2d(self.share, ratio), lift)
        generator = torch.Generator().manual_seed(1)
        return deep + noise * torch.randn(deep.shape, generator=generator)

    def border(self) -> Tensor:
        """[B, SIZE, SIZE] bool: pixels of more than one class, and their neighbors."""
        mixed = (self.share.amax(1, keepdim=True) < 0.999).float()
        return F.max_pool2d(mixed, 3, 1, 1)[:, 0] > 0


def scenes(count: int, seed: int, texture: float = 0.05) -> Scenes:
    """Draw scenes; ``texture`` is the strength of smooth and of white noise in the image."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    fine = SIZE * _FINER
    rows, columns = torch.meshgrid(torch.arange(fine) + 0.5, torch.arange(fine) + 0.5, indexing="ij")
    labels = torch.zeros(count, fine, fine, dtype=torch.long)
    for label in labels:
        for organ in range(1, ORGANS + 1):
            row, column = (0.2 + 0.6 * random(2)) * fine
            angle = torch.atan2(rows - row, columns - column)
            radius = (0.1 + 0.15 * random(1)) * fine
            waves = [0.15 * (random(1) - 0.5) * torch.cos(n * angle + 6.28 * random(1)) for n in (2, 3, 5)]
            label[torch.hypot(rows - row, columns - column) < radius * (1 + sum(waves, torch.zeros(1)))] = organ
    share = F.avg_pool2d(F.one_hot(labels, ORGANS + 1).movedim(-1, 1).float(), _FINER)
    image = (share * torch.tensor(_INTENSITIES)[:, None, None]).sum(1, keepdim=True)
    smooth = F.interpolate(torch.randn(count, 1, 8, 8, generator=generator), SIZE, mode="bicubic")
    white = torch.randn(image.shape, generator=generator)
    return Scenes(image + texture * (smooth + white), share)


class Enlarged(NamedTuple):
    """The enlarged map and the returned guide."""

    x: Tensor
    guide: Tensor


class Restorer(nn.Module):
    """Deep map and image -> shares: a stem for the guide, one upsampler, a 1x1 head.

    Args:
        own_guide: the enlarged deep map is the guide; the image is not used.
        joined: the head also reads the returned guide, as in a decoder; else it reads the enlarged map only.
    """

    def __init__(self, upsampler: Upsampler, own_guide: bool, joined: bool) -> None:
        super().__init__()
        self.own_guide, self.joined = own_guide, joined
        self.stem = nn.Sequential(nn.Conv2d(1, GUIDE, 3, padding=1), nn.ReLU(), nn.Conv2d(GUIDE, GUIDE, 3, padding=1))
        self.upsampler = upsampler
        self.head = nn.Conv2d(CHANNELS + (GUIDE if joined else 0), ORGANS + 1, 1)

    def enlarged(self, deep: Tensor, image: Tensor) -> Enlarged:
        if self.own_guide:
            guide = F.interpolate(deep, size=image.shape[2:], mode="bilinear")
        else:
            guide = self.stem(image)
        x, guide = self.upsampler(deep, guide)
        return Enlarged(x, guide)

    def forward(self, deep: Tensor, image: Tensor) -> Tensor:
        out = self.enlarged(deep, image)
        shares: Tensor = self.head(torch.cat([out.x, out.guide], 1) if self.joined else out.x)
        return shares


def restorer(
    name: str, ratio: int, seed: int, *, own_guide: bool = False, joined: bool = False, **options: Any
) -> Restorer:
    """An untrained network around the upsampler ``name``."""
    torch.manual_seed(seed)
    guide = CHANNELS if own_guide else GUIDE
    up = create_upsampler(
        name, spatial_dims=2, in_channels=CHANNELS, guide_channels=guide, scale_factor=ratio, **options
    )
    return Restorer(up, own_guide, joined)


def fit(net: nn.Module, ratio: int, steps: int, texture: float = 0.05, seed: int = 0) -> None:
    """Train with AdamW, the upsampler's default rates by part, and a rate that falls to zero."""
    optimizer = torch.optim.AdamW(parameter_groups(net, 3e-3, 1e-4))
    falling = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps, pct_start=0.1
    )
    pool = scenes(128, 1000 + seed, texture)
    deep = pool.deep(ratio)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(128, (4,), generator=generator)
        loss = F.mse_loss(net(deep[chosen], pool.image[chosen]), pool.share[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()


@torch.no_grad()
def errors(net: nn.Module, ratio: int, texture: float = 0.05) -> dict[str, float]:
    """Mean absolute error of the shares of new scenes, at borders and elsewhere."""
    held_out = scenes(32, 7, texture)
    error = (net(held_out.deep(ratio), held_out.image) - held_out.share).abs().mean(1)
    border = held_out.border()
    return {"border": float(error[border].mean()), "inside": float(error[~border].mean())}


Measure = Callable[[str, int], Mapping[str, float]]


def repeated(variants: Sequence[str], seeds: int, measure: Measure) -> dict[str, dict[str, list[float]]]:
    """``measure(variant, seed)`` for every variant and seed: variant -> measure -> one value per seed."""
    results: dict[str, dict[str, list[float]]] = {}
    for variant in variants:
        for seed in range(seeds):
            for name, value in measure(variant, seed).items():
                results.setdefault(variant, {}).setdefault(name, []).append(value)
        means = ", ".join(f"{name} {np.mean(values):.4f}" for name, values in results[variant].items())
        print(f"{variant}: {means}", flush=True)
    return results


def study(name: str, variants: Sequence[str], seeds: int, measure: Measure, drawn: Sequence[str]) -> None:
    """Measure all variants and seeds; write the results, and a figure of the ``drawn`` measures."""
    results = repeated(variants, seeds, measure)
    save(name, results)
    dots(name, results, drawn)


def save(study: str, results: Mapping[str, Any]) -> None:
    """Write the study's JSON."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    write_json(OUTPUT / f"{study}.json", results)


def dots(study: str, results: Mapping[str, Mapping[str, list[float]]], measures: Sequence[str]) -> None:
    """Draw each measure with a dot per seed and a line at their mean; write the study's figure."""
    figure, axes = plt.subplots(1, len(measures), figsize=(4.5 * len(measures), 0.35 * len(results) + 1), squeeze=False)
    for axis, measure in zip(axes[0], measures, strict=True):
        for row, values in enumerate(of[measure] for of in results.values()):
            axis.plot(values, [row] * len(values), ".", color="tab:blue")
            axis.plot(np.mean(values), row, "|", color="black", markersize=14)
        axis.set_yticks(range(len(results)), list(results) if axis is axes[0][0] else [""] * len(results))
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        axis.set_xlabel(measure)
    figure.tight_layout()
    figure.savefig(OUTPUT / f"{study}.png", dpi=90)
