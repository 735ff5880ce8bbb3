"""Does aligning queries and keys help ReSFU, and does it help more if the guide has no semantics?

The guide comes from clean images, or from images in which texture is as strong as the organs' contrast.
"""

from __future__ import annotations

from scenes import errors, fit, restorer, study

RATIO, STEPS, SEEDS = 4, 300, 3
SWITCHES = {
    "both": {},
    "no guided filter": {"semantic_alignment": False},
    "no Gaussian": {"detail_alignment": False},
    "neither": {"semantic_alignment": False, "detail_alignment": False},
}
TEXTURES = {"clean": 0.05, "textured": 0.25}


def measure(variant: str, seed: int) -> dict[str, float]:
    guide, switch = variant.split(": ")
    net = restorer("resfu", RATIO, seed, embed_channels=8, **SWITCHES[switch])
    fit(net, RATIO, STEPS, TEXTURES[guide], seed)
    return errors(net, RATIO, TEXTURES[guide])


if __name__ == "__main__":
    study(
        "alignment",
        [f"{guide}: {switch}" for guide in TEXTURES for switch in SWITCHES],
        SEEDS,
        measure,
        ("border", "inside"),
    )
