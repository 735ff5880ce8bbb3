"""Objects and segments drawn over a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy import ndimage

from medups.data.labels import LabelSet
from medups.data.pictures.objects import Objects, Segments
from medups.report.figure import png_bytes
from medups.report.overlay import organ_colors

Found = Objects | Segments
_OPACITY = 0.55
_WIDTH = 4.4  # of one panel, in inches
_CLEAR = 0.5  # objects with a lower score are not drawn
_MOST = 40  # objects in one panel
_NAMED = 16


def beside_picture(picture: NDArray[np.uint8], found: Mapping[str, Found], labels: LabelSet, title: str) -> Figure:
    """The picture [H, W, 3], and each set of objects or segments over it."""
    height = _WIDTH * picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(_WIDTH * (1 + len(found)), height + 1.0), layout="constrained")
    axes = figure.subplots(1, 1 + len(found))
    axes[0].imshow(picture)
    colors = {number: np.array(to_rgb(color)) for number, color in organ_colors(labels.organs).items()}
    shown: dict[int, None] = {}
    for axis, one in zip(axes[1:], found.values(), strict=True):
        ids = _draw_objects(axis, picture, one, colors) if isinstance(one, Objects) else None
        if isinstance(one, Segments):
            ids = _draw_segments(axis, picture, one, colors)
        shown |= dict.fromkeys(ids or [])
    for axis, name in zip(axes, ("picture", *found), strict=True):
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    handles = [
        axes[0].scatter([], [], marker="s", color=colors[number], label=labels.organs[number])
        for number in list(shown)[:_NAMED]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def objects_png(picture: NDArray[np.uint8], found: Mapping[str, Found], labels: LabelSet, title: str) -> bytes:
    """The same as a PNG file."""
    return png_bytes(beside_picture(picture, found, labels, title))


def objects_array(
    picture: NDArray[np.uint8], found: Mapping[str, Found], labels: LabelSet, title: str
) -> NDArray[np.uint8]:
    """The same as an array [H', W', 3]."""
    canvas = FigureCanvasAgg(beside_picture(picture, found, labels, title))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_objects(
    axis: Any, picture: NDArray[np.uint8], objects: Objects, colors: Mapping[int, NDArray[np.float64]]
) -> list[int]:
    """Boxes, tinted masks and scores, the best on top; returns the classes that were drawn."""
    drawn = picture / 255
    order: list[int] = list(range(len(objects.ids)))
    if objects.scores is not None:
        order = [n for n in np.argsort(-objects.scores).tolist() if objects.scores[n] >= _CLEAR]
    chosen = order[:_MOST][::-1]
    for number in chosen:
        color = colors[int(objects.ids[number])]
        if objects.masks is not None:
            mask = objects.masks[number]
            drawn[mask] = (1 - _OPACITY) * drawn[mask] + _OPACITY * color
        left, top, right, bottom = objects.boxes[number] - 0.5
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=color, linewidth=1.2))
        if objects.scores is not None:
            axis.text(
                left, top, f"{objects.scores[number]:.2f}", fontsize=6, color="white", va="bottom",
                bbox={"facecolor": color, "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip
    axis.imshow(drawn)
    return [int(objects.ids[number]) for number in chosen[::-1]]


def _draw_segments(
    axis: Any, picture: NDArray[np.uint8], segments: Segments, colors: Mapping[int, NDArray[np.float64]]
) -> list[int]:
    """Tinted segments with white borders; returns the classes that were drawn."""
    drawn = np.repeat(picture.mean(2, keepdims=True) / 255, 3, axis=2)
    for number, category in segments.ids.items():
        mask = segments.numbers == number
        drawn[mask] = (1 - _OPACITY) * drawn[mask] + _OPACITY * colors[category]
    numbers = segments.numbers
    border = ndimage.maximum_filter(numbers, 2) != ndimage.minimum_filter(numbers, 2)
    drawn[border] = 1
    axis.imshow(drawn)
    return list(dict.fromkeys(segments.ids.values()))
