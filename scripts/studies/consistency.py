"""What does each part of FreqFusion add: less variation within classes, and clearer borders between them?

As in the paper, ``similarity`` is the mean cosine of a pixel's features to the mean features of its class in the same
image, and ``margin`` that minus the highest cosine to another class.
"""

from __future__ import annotations

from typing import Any

import torch
from scenes import Restorer, errors, fit, restorer, scenes, study
from torch.nn import functional as F

RATIO, STEPS, SEEDS = 2, 300, 3
NONE = {"low_pass": False, "high_pass": False, "offset_generator": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "nearest": NONE,
    "low-pass": {**NONE, "low_pass": True},
    "low and high-pass": {"offset_generator": False},
    "all parts": {},
    "all, low-pass 3": {"lowpass_kernel": 3},
    "all, high-pass 5": {"highpass_kernel": 5},
    "all, 1 offset group": {"offset_groups": 1},
    "all, 8 offset groups": {"offset_groups": 8},
}


@torch.no_grad()
def _consistency(net: Restorer) -> dict[str, float]:
    held_out = scenes(32, 7)
    features = F.normalize(net.enlarged(held_out.deep(RATIO), held_out.image).x, dim=1)
    similarity, margin = [], []
    for maps, share in zip(features, held_out.share, strict=True):
        classes = share.argmax(0)
        present = classes.unique().tolist()
        centers = torch.stack([F.normalize(maps[:, classes == number].mean(1), dim=0) for number in present])
        cosines = torch.einsum("kc,chw->khw", centers, maps)
        to_own_class = torch.stack([cosines[row][classes == number].mean() for row, number in enumerate(present)])
        to_other_class = [
            cosines[[column for column in range(len(present)) if column != row]].amax(0)[classes == number].mean()
            for row, number in enumerate(present)
        ]
        similarity.append(to_own_class.mean())
        margin.append((to_own_class - torch.stack(to_other_class)).mean())
    return {"similarity": float(torch.stack(similarity).mean()), "margin": float(torch.stack(margin).mean())}


def measure(variant: str, seed: int) -> dict[str, float]:
    net = restorer("freqfusion", RATIO, seed, joined=True, compressed_channels=16, **VARIANTS[variant])
    fit(net, RATIO, STEPS, seed=seed)
    return {**errors(net, RATIO), **_consistency(net)}


if __name__ == "__main__":
    study("consistency", list(VARIANTS), SEEDS, measure, ("border", "similarity", "margin"))
