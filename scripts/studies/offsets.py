"""Where do learned offsets point: into the pixel's own organ, away from the border?

``own class`` is the share of the pixel's own class at the position that is read, in the deep map enlarged linearly:
without the offset and with it, at borders.
"""

from __future__ import annotations

from typing import Any

import torch
from scenes import OUTPUT, Restorer, errors, fit, plt, repeated, restorer, save, scenes
from torch import Tensor
from torch.nn import functional as F

from medups.ops import sample_offsets

RATIO, STEPS, SEEDS = 4, 400, 3
_LONGER = 8  # arrows in the figure
OPTIONS: dict[str, dict[str, Any]] = {"freqfusion": {"compressed_channels": 16}, "dysample": {}}


@torch.no_grad()
def _own_class(net: Restorer) -> tuple[dict[str, float], Tensor]:
    held_out = scenes(32, 7)
    deep = held_out.deep(RATIO)
    offsets = net.upsampler.offset_field(deep, net.stem(held_out.image))
    assert offsets is not None
    coarse = F.avg_pool2d(held_out.share, RATIO)
    classes = held_out.share.argmax(1, keepdim=True)
    border = held_out.border()

    def own_class_share(shift: Tensor) -> float:
        return float(sample_offsets(coarse, shift).gather(1, classes)[:, 0][border].mean())

    mean = offsets.mean(2)
    lengths = offsets.square().sum(1).sqrt().mean(1)
    values = {
        "own class, unshifted": own_class_share(torch.zeros_like(mean)),
        "own class, shifted": own_class_share(mean),
        "length at borders": float(lengths[border].mean()),
        "length elsewhere": float(lengths[~border].mean()),
    }
    return values, mean


def measure(variant: str, seed: int) -> dict[str, float]:
    net = restorer(variant, RATIO, seed, **OPTIONS[variant])
    fit(net, RATIO, STEPS, seed=seed)
    values, mean = _own_class(net)
    if seed == 0:
        arrows[variant] = mean[0]
    return {**errors(net, RATIO), **values}


arrows: dict[str, Tensor] = {}

if __name__ == "__main__":
    results = repeated(list(OPTIONS), SEEDS, measure)
    save("offsets", results)
    figure, axes = plt.subplots(1, len(arrows), figsize=(5 * len(arrows), 5))
    for axis, (name, shifts) in zip(axes, arrows.items(), strict=True):
        axis.imshow(scenes(32, 7).image[0, 0], cmap="gray")
        rows = torch.arange(1, shifts.shape[1], 2)
        at = shifts[:, rows][:, :, rows] * RATIO
        axis.quiver(rows, rows, at[0], at[1], angles="xy", scale_units="xy", scale=1 / _LONGER, color="tab:orange")
        axis.set_title(f"{name}, offsets {_LONGER} times as long")
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(OUTPUT / "offsets.png", dpi=90)
