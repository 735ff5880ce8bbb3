"""Names, colors and codes of organs in other programs."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cache

import yaml

from medups.io.shipped import configs_dir

_GOLDEN = 0.618034  # steps of this share of the color circle stay far apart


@dataclass(frozen=True)
class Organ:
    """How other programs show an organ.

    Args:
        name: for people, such as ``left kidney``.
        color: red, green and blue, 0 to 255.
        code: of SNOMED CT, and its meaning; None for an organ without one.
        side: ``left`` or ``right``; None for an organ without a side.
    """

    name: str
    color: tuple[int, int, int]
    code: tuple[str, str] | None
    side: str | None


def organ(label: str, number: int) -> Organ:
    """The organ of a label such as ``left_kidney``; ``number`` chooses the color of an unknown one."""
    side = next((side for side in ("left", "right") if label.startswith(f"{side}_")), None)
    known = _table().get(label) or _table().get(label.removeprefix(f"{side}_"))
    if known is None:
        color = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.55, 0.9)
        red, green, blue = (round(255 * value) for value in color)
        return Organ(label.replace("_", " "), (red, green, blue), None, side)
    red, green, blue = known["color"]
    return Organ(label.replace("_", " "), (red, green, blue), (known["code"], known["meaning"]), side)


@cache
def _table() -> dict[str, dict]:
    return yaml.safe_load((configs_dir() / "organs.yaml").read_text(encoding="utf-8"))
