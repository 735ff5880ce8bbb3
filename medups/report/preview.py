"""A picture of one mask over its scan, in three planes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from medups.data.volumes.masks.organs import organ

_PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}
_HEIGHT = 4.0  # inches


def preview_png(
    image: NDArray[np.floating],
    mask: NDArray[np.uint8],
    organs: Mapping[int, str],
    spacing_mm: tuple[float, float, float],
    title: str,
    window: tuple[float, float],
) -> bytes:
    """A PNG file: an axial, a coronal and a sagittal slice, each the one with the most organs, with contours.

    Args:
        image, mask: intensities and ids [S, P, L], with axes toward head, back and the patient's left.
        organs: names by id.
        spacing_mm: along the axes; pixels are drawn in their true proportions.
        window: the intensities shown as black and as white.
    """
    extents = [n * mm for n, mm in zip(mask.shape, spacing_mm, strict=True)]
    widths = [extents[2] / extents[1], extents[2] / extents[0], extents[1] / extents[0]]
    widths = [min(max(width, 0.5), 2.5) for width in widths]
    figure = Figure(figsize=(_HEIGHT * sum(widths), _HEIGHT + 1.2), layout="constrained")
    axes: Any = figure.subplots(1, 3, width_ratios=widths)
    colors = {number: _color(name, number) for number, name in organs.items()}
    for plot, (name, axis) in zip(axes, _PLANES.items(), strict=True):
        index = _fullest(mask, axis)
        picture, ids = (np.take(volume, index, axis) for volume in (image, mask))
        rows, columns = (mm for other, mm in enumerate(spacing_mm) if other != axis)
        if axis != 0:  # the head up
            picture, ids = picture[::-1], ids[::-1]
        plot.imshow(picture, cmap="gray", vmin=window[0], vmax=window[1], aspect=rows / columns)
        for number, color in colors.items():
            if (inside := ids == number).any() and min(ids.shape) > 1:
                plot.contour(inside, levels=[0.5], colors=[color], linewidths=1.2)
        plot.set_xticks([])
        plot.set_yticks([])
        plot.set_title(f"{name}, slice {index}", fontsize=9)
    shown = [number for number in organs if (mask == number).any()][:18]
    figure.legend(
        handles=[Line2D([], [], color=colors[number], label=organ(organs[number], number).name) for number in shown],
        loc="outside lower center", ncols=6, fontsize=8, frameon=False,
    )  # fmt: skip
    figure.suptitle(title if shown else f"{title}: no organ found", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return buffer.getvalue()


def _color(name: str, number: int) -> tuple[float, float, float]:
    red, green, blue = organ(name, number).color
    return red / 255, green / 255, blue / 255


def _fullest(mask: NDArray[np.uint8], axis: int) -> int:
    """The slice with the most organs, and among those the largest area; the middle one of an empty mask."""
    others = tuple(other for other in range(3) if other != axis)
    counts = np.zeros(mask.shape[axis])
    for number in np.unique(mask[mask > 0]):
        counts += (mask == number).any(others)
    if not counts.any():
        return mask.shape[axis] // 2
    return int(np.lexsort(((mask > 0).sum(others), counts))[-1])
