"""Draw the figures of docs/methods.md.

python scripts/docs/methods_figures.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch, Rectangle
from page import DOCS

_SMALL, _RATIO = 6, 4
_PIXEL = (9, 14)  # row and column of the output pixel that is shown
_GUIDE, _DEEP, _STEP, _RESULT = "#d7e8d4", "#dbe4f3", "#f4f4f4", "#f7e3c8"

Place = tuple[float, float]
Box = tuple[Place, str, str]


def main() -> None:
    """Write the three figures."""
    save(taps(), "taps")
    save(flow(RESFU, RESFU_ARROWS, (12.0, 4.9)), "resfu")
    save(flow(FREQFUSION, FREQFUSION_ARROWS, (12.0, 4.9)), "freqfusion")


def save(figure: Any, name: str) -> None:
    path = DOCS / "pictures" / f"{name}.png"
    figure.savefig(path, dpi=90, bbox_inches="tight", facecolor="white")
    print(path)


def taps() -> Any:
    """An output pixel on the small map's grid, with its nearest, linear and predicted taps."""
    row, column = ((n + 0.5) / _RATIO - 0.5 for n in _PIXEL)
    near = [n // _RATIO for n in _PIXEL]
    window = range(-1, 2)
    places: Mapping[str, Sequence[Place]] = {
        "nearest taps, 3 x 3": [(near[0] + i, near[1] + j) for i in window for j in window],
        "linear taps, 3 x 3": [(row + i, column + j) for i in window for j in window],
        "predicted taps, 4 groups": [(row - 0.7, column + 0.9), (row + 0.3, column + 1.3),
                                     (row + 1.1, column + 0.2), (row - 0.2, column - 0.4)],
    }  # fmt: skip
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2))
    for axis, (title, taken) in zip(axes, places.items(), strict=True):
        for n in range(_SMALL):
            for m in range(_SMALL):
                axis.add_patch(Rectangle((m - 0.5, n - 0.5), 1, 1, facecolor=_DEEP, edgecolor="white", linewidth=2))
        for n in range(_SMALL * _RATIO):
            place = n / _RATIO - 0.5
            axis.axhline(place, color="white", linewidth=0.3)
            axis.axvline(place, color="white", linewidth=0.3)
        corner = (column - 0.5 / _RATIO, row - 0.5 / _RATIO)
        axis.add_patch(Rectangle(corner, 1 / _RATIO, 1 / _RATIO, facecolor="#d9822b"))
        axis.plot(*zip(*((x, y) for y, x in taken), strict=True), "o", color="#2a5caa", markersize=7)
        axis.set(xlim=(-0.5, _SMALL - 0.5), ylim=(_SMALL - 0.5, -0.5), aspect="equal", title=title)
        axis.set_axis_off()
    text = "blue squares: pixels of the small map; orange: one output pixel; dots: the places that it reads"
    figure.text(0.5, 0.04, text, ha="center")
    return figure


RESFU: Mapping[str, Box] = {
    "guide": ((0, 3), "guide", _GUIDE),
    "deep": ((0, 0), "deep map", _DEEP),
    "q": ((2, 3), "GN, 1x1\nquery", _STEP),
    "k": ((2, 1), "GN, 1x1\nenlarged key", _STEP),
    "sem": ((4, 2.1), "guided filter", _STEP),
    "gauss": ((4, 3.9), "Gaussian", _STEP),
    "pcd_sem": ((6, 1.4), "difference\nof meaning", _STEP),
    "pcd_det": ((6, 3.4), "difference\nof detail", _STEP),
    "softmax": ((8, 2.4), "sum, softmax\n9 weights", _STEP),
    "out": ((10, 0), "weighted sum\nof linear taps", _RESULT),
}
RESFU_ARROWS = [
    ("guide", "q"), ("deep", "k"), ("q", "sem"), ("k", "sem"), ("q", "gauss"), ("k", "pcd_sem"), ("sem", "pcd_sem"),
    ("gauss", "pcd_det"), ("q", "pcd_det"), ("pcd_sem", "softmax"), ("pcd_det", "softmax"), ("softmax", "out"),
    ("deep", "out"),
]  # fmt: skip
FREQFUSION: Mapping[str, Box] = {
    "guide": ((0, 3.3), "guide", _GUIDE),
    "deep": ((0, 0), "deep map", _DEEP),
    "cg": ((2, 2.1), "1x1, sharpened", _STEP),
    "cx": ((2, 1.1), "1x1", _STEP),
    "high": ((4.3, 2.7), "scores of the\nhigh-pass filter", _STEP),
    "low": ((4.3, 0.75), "scores of the\nlow-pass filter", _STEP),
    "sharp": ((6.9, 3.3), "guide + its\nhigh frequencies", _RESULT),
    "smooth": ((6.9, 0), "smooth\nenlargement", _STEP),
    "offsets": ((6.9, 1.9), "similarities,\noffsets", _STEP),
    "out": ((9.3, 0), "moved by\nthe offsets", _RESULT),
}
FREQFUSION_ARROWS = [
    ("guide", "cg"), ("deep", "cx"), ("cg", "high"), ("cx", "low"), ("cg", "low"), ("cx", "high"), ("guide", "sharp"),
    ("high", "sharp"), ("deep", "smooth"), ("low", "smooth"), ("cg", "offsets"), ("cx", "offsets"), ("smooth", "out"),
    ("offsets", "out"),
]  # fmt: skip


def flow(boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str]], size: tuple[float, float]) -> Any:
    """Boxes, green for the guide, blue for the deep map and orange for results, and arrows from left to right."""
    figure, axis = plt.subplots(figsize=size)
    right, rows = (max(place[axis_] for place, _, _ in boxes.values()) for axis_ in (0, 1))
    for (x, y), text, color in boxes.values():
        frame = FancyBboxPatch((x - 0.75, y - 0.28), 1.5, 0.56, "round,pad=0.05", facecolor=color, edgecolor="#666666")
        axis.add_patch(frame)
        axis.text(x, y, text, ha="center", va="center", fontsize=10)
    for start, end in arrows:
        (x, y), (goal_x, goal_y) = boxes[start][0], boxes[end][0]
        style = {"arrowstyle": "-|>", "color": "#444444", "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", (goal_x - 0.82, goal_y), (x + 0.82, y), arrowprops=style)
    axis.set(xlim=(-1, right + 1), ylim=(-0.6, rows + 0.6))
    axis.set_axis_off()
    return figure


if __name__ == "__main__":
    main()
