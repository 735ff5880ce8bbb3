"""Which similarity should ReSFU compute kernels from: paired differences, inner products or cosines, and how wide?"""

from __future__ import annotations

from typing import Any

from scenes import errors, fit, restorer, study
from torch import nn

from medups.upsamplers.resfu import PairedDifference

RATIO, STEPS, SEEDS = 4, 300, 3
BASE: dict[str, Any] = {"embed_channels": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "paired difference": {},
    "inner product": {"similarity": "dot"},
    "cosine": {"similarity": "cosine"},
    "16 channels": {"embed_channels": 16},
    "32 channels": {"embed_channels": 32},
    "1 group": {"groups": 1},
    "kernel 5": {"kernel_size": 5},
    "logits start at 0": {},
}


def measure(variant: str, seed: int) -> dict[str, float]:
    net = restorer("resfu", RATIO, seed, **{**BASE, **VARIANTS[variant]})
    if variant == "logits start at 0":
        for block in net.upsampler.modules():
            if isinstance(block, PairedDifference):
                nn.init.zeros_(block.logits.weight)
    fit(net, RATIO, STEPS, seed=seed)
    return errors(net, RATIO)


if __name__ == "__main__":
    study("similarity", list(VARIANTS), SEEDS, measure, ("border", "inside"))
