"""Do fine-grained neighbors avoid the mosaic that coarse neighbors leave at high ratios?

``steps`` is the mean jump of the error between neighboring pixels of different cells of the deep map, divided by that
between pixels of the same cell: 1 without a mosaic.
"""

from __future__ import annotations

import numpy as np
import torch
from scenes import OUTPUT, SIZE, Restorer, errors, fit, plt, repeated, restorer, save, scenes

RATIOS, STEPS, SEEDS = (2, 4, 8, 16), 300, 2
NEIGHBORS = ("fine", "coarse")


@torch.no_grad()
def _mosaic(net: Restorer, ratio: int) -> float:
    held_out = scenes(32, 7)
    error = (net(held_out.deep(ratio), held_out.image) - held_out.share).mean(1, keepdim=True)
    jumps = (error[..., 1:] - error[..., :-1]).abs().mean((0, 1, 2))
    between = torch.arange(1, SIZE) % ratio == 0
    return float(jumps[between].mean() / jumps[~between].mean())


def measure(variant: str, seed: int) -> dict[str, float]:
    neighbors, ratio = variant.split(" x")
    net = restorer("resfu", int(ratio), seed, embed_channels=8, neighbors=neighbors)
    fit(net, int(ratio), STEPS, seed=seed)
    return {**errors(net, int(ratio)), "steps": _mosaic(net, int(ratio))}


if __name__ == "__main__":
    results = repeated([f"{kind} x{ratio}" for ratio in RATIOS for kind in NEIGHBORS], SEEDS, measure)
    save("mosaic", results)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for axis, name in zip(axes, ("border", "steps"), strict=True):
        for kind in NEIGHBORS:
            axis.plot(RATIOS, [np.mean(results[f"{kind} x{ratio}"][name]) for ratio in RATIOS], "o-", label=kind)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("ratio")
        axis.set_ylabel(name)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(OUTPUT / "mosaic.png", dpi=90)
