"""Are ReSFU and FreqFusion of use without a guide, when the enlarged deep map is its own guide?"""

from __future__ import annotations

from typing import Any

from scenes import errors, fit, restorer, study

RATIO, STEPS, SEEDS = 2, 300, 3
VARIANTS: dict[str, dict[str, Any]] = {
    "resfu": {"embed_channels": 8},
    "freqfusion": {"compressed_channels": 16},
    "carafe": {},
    "dysample": {},
    "linear": {},
}


def measure(variant: str, seed: int) -> dict[str, float]:
    net = restorer(variant, RATIO, seed, own_guide=True, **VARIANTS[variant])
    fit(net, RATIO, STEPS, seed=seed)
    return errors(net, RATIO)


if __name__ == "__main__":
    study("noguide", list(VARIANTS), SEEDS, measure, ("border", "inside"))
