"""Pictures of masks over scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from medups.data.volumes.volume import CT_WINDOW
from medups.io.files import write_bytes
from medups.report.figure import png_bytes

_SLICES = 4
_GRAY = 7  # index of gray in tab10, invisible on a scan


def overlay_png(
    image: NDArray[np.floating] | None,
    masks: dict[str, NDArray[np.uint8]],
    organs: Mapping[int, str],
    spacing_mm: tuple[float, float, float],
    title: str,
    window: tuple[float, float] = CT_WINDOW,
) -> bytes:
    """A PNG file: one row per mask, the same slices in the columns, and one contour color per organ.

    Args:
        image: intensities [S, P, L], or None for a dark background.
        masks: ids [S, P, L] by row name; the last one determines the slices.
        organs: names by id.
        spacing_mm: along the axes; pixels are drawn in their true proportions.
        window: the intensities shown as black and as white.
    """
    figure = draw(image, masks, organs, spacing_mm, title, window)
    return png_bytes(figure)


def write_overlays(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Write ``overlays/CASE.png`` in ``folder`` for each case."""
    for name, picture in pictures.items():
        write_bytes(folder / "overlays" / f"{name}.png", picture)


def overlay_array(
    image: NDArray[np.floating],
    masks: dict[str, NDArray[np.uint8]],
    organs: Mapping[int, str],
    spacing_mm: tuple[float, float, float],
    title: str,
    window: tuple[float, float] = CT_WINDOW,
) -> NDArray[np.uint8]:
    """The same picture as an array [H, W, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(draw(image, masks, organs, spacing_mm, title, window))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw(
    image: NDArray[np.floating] | None,
    masks: dict[str, NDArray[np.uint8]],
    organs: Mapping[int, str],
    spacing_mm: tuple[float, float, float],
    title: str,
    window: tuple[float, float] = CT_WINDOW,
) -> Figure:
    """The figure behind :func:`overlay_png`."""
    reference = list(masks.values())[-1]
    rows = _informative_slices(reference)
    background = np.full(reference.shape, window[0], dtype=np.float32) if image is None else image
    aspect = spacing_mm[1] / spacing_mm[2]
    height = 2.6 * reference.shape[1] * aspect / reference.shape[2]
    figure = Figure(figsize=(2.6 * len(rows), height * len(masks) + 0.9), layout="constrained")
    grid: Any = figure.subplots(len(masks), len(rows), squeeze=False)
    colors = organ_colors(organs)
    for axes_row, (name, mask) in zip(grid, masks.items(), strict=True):
        for axes, row in zip(axes_row, rows, strict=True):
            axes.imshow(background[row], cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
            for number, color in colors.items():
                if (organ := mask[row] == number).any():
                    axes.contour(organ, levels=[0.5], colors=[color], linewidths=1.1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"slice {row}" if axes_row is grid[0] else "", fontsize=8)
        axes_row[0].set_ylabel(name, fontsize=9)
    shown = [number for number in organs if any((mask == number).any() for mask in masks.values())][:16]
    organ_legend(figure, organs, shown, columns=4)
    figure.suptitle(title, fontsize=10)
    return figure


def organ_colors(organs: Mapping[int, str]) -> dict[int, Any]:
    """A color for every organ, as far from the others as possible; anatomical colors are too alike for thin lines."""
    distinct = [colormaps["tab10"](index) for index in range(10) if index != _GRAY]
    spectrum = [colormaps["gist_ncar"](index / len(organs)) for index in range(len(organs))]
    return dict(zip(organs, distinct if len(organs) <= len(distinct) else spectrum, strict=False))


def organ_legend(figure: Figure, organs: Mapping[int, str], shown: Sequence[int], columns: int) -> None:
    """Add the names of the ``shown`` organs below the pictures."""
    colors = organ_colors(organs)
    figure.legend(
        handles=[Line2D([], [], color=colors[number], label=organs[number].replace("_", " ")) for number in shown],
        loc="outside lower center", ncols=columns, fontsize=8, frameon=False,
    )  # fmt: skip


def _informative_slices(mask: NDArray[np.uint8]) -> list[int]:
    """Slices spread over the mask's height: the one with the most organs in each section."""
    rows = np.flatnonzero(mask.any((1, 2)))
    if not len(rows):
        rows = np.arange(mask.shape[0])
    best = []
    for section in np.array_split(rows, min(_SLICES, len(rows))):
        counts = [(len(np.unique(mask[row])), int((mask[row] > 0).sum())) for row in section]
        best.append(int(section[max(range(len(section)), key=counts.__getitem__)]))
    return best[::-1]  # head first
