"""Classes drawn over a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.pictures import IGNORED
from medups.report.figure import png_bytes
from medups.report.overlay import organ_colors

_OPACITY = 0.6
_WIDTH = 3.4  # of one panel, in inches
_NAMED = 16


def class_colors(labels: LabelSet) -> NDArray[np.float64]:
    """A color for each channel [K, 3], 0 to 1, as far from the others as possible."""
    names = dict(enumerate(labels.channels.values()))
    return np.array([to_rgb(color) for color in organ_colors(names).values()])


def side_by_side(
    picture: NDArray[np.uint8], masks: Mapping[str, NDArray[np.uint8]], labels: LabelSet, title: str
) -> NDArray[np.uint8]:
    """The picture [H, W, 3], and each mask of channels [H, W] over it, as an array [H', W', 3]."""
    canvas = FigureCanvasAgg(_figure(picture, masks, labels, title))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def side_by_side_png(
    picture: NDArray[np.uint8], masks: Mapping[str, NDArray[np.uint8]], labels: LabelSet, title: str
) -> bytes:
    """The same as a PNG file."""
    return png_bytes(_figure(picture, masks, labels, title))


def _figure(picture: NDArray[np.uint8], masks: Mapping[str, NDArray[np.uint8]], labels: LabelSet, title: str) -> Figure:
    colors = class_colors(labels)
    height = _WIDTH * picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(_WIDTH * (1 + len(masks)), height + 1.0), layout="constrained")
    axes = figure.subplots(1, 1 + len(masks))
    panels = {"picture": picture / 255, **{name: _tinted(picture, mask, colors) for name, mask in masks.items()}}
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        axis.imshow(panel)
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    counts = sum(np.bincount(mask[mask != IGNORED].ravel(), minlength=len(colors)) for mask in masks.values())
    shown = [number for number in np.argsort(-np.asarray(counts)) if np.asarray(counts)[number]][:_NAMED]
    names = list(labels.channels.values())
    handles = [axes[0].scatter([], [], marker="s", color=colors[number], label=names[number]) for number in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _tinted(picture: NDArray[np.uint8], mask: NDArray[np.uint8], colors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The picture in gray below the classes' colors; ignored pixels stay as they are."""
    gray = np.repeat(picture.mean(2, keepdims=True) / 255, 3, axis=2)
    known = mask != IGNORED
    tinted = picture / 255
    tinted[known] = (1 - _OPACITY) * gray[known] + _OPACITY * colors[mask[known]]
    return np.asarray(tinted)
