"""A picture of one mask over its scan, in three planes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medups.report.figure import png_bytes
from medups.report.overlay import organ_colors, organ_legend

_PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}
_MOST_NAMES = 24


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
    figure = Figure(figsize=(9.5, 6.6), layout="constrained")
    plots: Any = figure.subplot_mosaic([["axial", "coronal"], ["axial", "sagittal"]], width_ratios=[3, 2])
    for name, axis in _PLANES.items():
        index = _fullest(mask, axis)
        picture, ids = (np.take(volume, index, axis) for volume in (image, mask))
        rows, columns = (mm for other, mm in enumerate(spacing_mm) if other != axis)
        if axis != 0:  # the head up
            picture, ids = picture[::-1], ids[::-1]
        plots[name].imshow(picture, cmap="gray", vmin=window[0], vmax=window[1], aspect=rows / columns)
        for number, color in organ_colors(organs).items():
            if (inside := ids == number).any() and min(ids.shape) > 1:
                plots[name].contour(inside, levels=[0.5], colors=[color], linewidths=1.2)
        plots[name].set_xticks([])
        plots[name].set_yticks([])
        plots[name].set_title(f"{name}, slice {index}", fontsize=9)
    shown = [number for number in organs if (mask == number).any()][:_MOST_NAMES]
    organ_legend(figure, organs, shown, columns=6)
    figure.suptitle(title if shown else f"{title}: no organ found", fontsize=10)
    return png_bytes(figure)


def _fullest(mask: NDArray[np.uint8], axis: int) -> int:
    """The slice with the most organs, and among those the largest area; the middle one of an empty mask."""
    others = tuple(other for other in range(3) if other != axis)
    counts = np.zeros(mask.shape[axis])
    for number in np.unique(mask[mask > 0]):
        counts += (mask == number).any(others)
    if not counts.any():
        return mask.shape[axis] // 2
    return int(np.lexsort(((mask > 0).sum(others), counts))[-1])
