"""Volumes small enough for a page: fewer voxels, intensities as JPEG, ids as PNG, all slices in one picture."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medups.data.volumes.resize import resize_image, resize_labels
from medups.metrics.surface import SurfaceDistances, surface_voxels

_ALL_VOXELS = 36_000_000  # of all cases, so that a page stays below 10 MB
_MOST_VOXELS, _FEWEST_VOXELS = 3_500_000, 300_000
_QUALITY = 55


@dataclass(frozen=True)
class ViewedCase:
    """One case in the viewer.

    Args:
        name: of the case.
        shape: slices, rows, columns.
        spacing_mm: along these axes.
        columns: slices beside each other in the pictures.
        image: data URL of the intensities, or None.
        pred, label: data URLs of the ids.
        others: those of other models by name.
        distances: data URL of the distance of each surface voxel of the prediction to the surface of the same organ in
            the label, in mm, at most 253, plus 1; 0 elsewhere, and 255 for an organ that the label lacks.
    """

    name: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    columns: int
    image: str | None
    pred: str
    label: str
    others: dict[str, str]
    distances: str


def viewed(
    name: str,
    masks: Mapping[str, NDArray[np.uint8]],
    image: NDArray[np.floating] | None,
    spacing_mm: Sequence[float],
    window: tuple[float, float],
    cases: int,
    others: Mapping[str, NDArray[np.uint8]] | None = None,
) -> ViewedCase:
    """Reduce the volumes of a case.

    Args:
        masks: ``pred`` and ``label``, ids [S, P, L].
        image: intensities on the same grid, or None.
        spacing_mm: along the axes.
        window: the intensities shown as black and as white.
        cases: on the page, which share its size.
        others: predictions of other models by name.
    """
    original = masks["label"].shape
    shape = _reduced(original, spacing_mm, min(_MOST_VOXELS, max(_FEWEST_VOXELS, _ALL_VOXELS // cases)))
    columns = ceil((shape[0] * shape[1] / shape[2]) ** 0.5)
    picture = None
    if image is not None:
        low, high = window
        gray = np.clip((resize_image(image, shape) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
        picture = _data_url(_tiled(gray, columns), "jpeg", quality=_QUALITY)

    def encoded(ids: NDArray[np.uint8]) -> str:
        return _data_url(_tiled(ids, columns), "png", optimize=True)

    pred, label = (resize_labels(masks[name], shape) for name in ("pred", "label"))
    spacing = tuple(n * mm / new for n, mm, new in zip(original, spacing_mm, shape, strict=True))
    return ViewedCase(
        name,
        shape,
        spacing,
        columns,
        picture,
        encoded(pred),
        encoded(label),
        {name: encoded(resize_labels(ids, shape)) for name, ids in (others or {}).items()},
        encoded(_distances(pred, label, spacing)),
    )


def _distances(pred: NDArray[np.uint8], label: NDArray[np.uint8], spacing_mm: Sequence[float]) -> NDArray[np.uint8]:
    """See ``distances`` of :class:`ViewedCase`."""
    result = np.zeros(pred.shape, np.uint8)
    for number in np.unique(pred[pred > 0]):
        inside = pred == number
        surface, reference = surface_voxels(inside), label == number
        if reference.any():
            of_pred = SurfaceDistances.of(inside, reference, spacing_mm).of_pred
            result[surface] = np.minimum(of_pred, 253).astype(np.uint8) + 1
        else:
            result[surface] = 255
    return result


def _reduced(shape: Sequence[int], spacing_mm: Sequence[float], most: int) -> tuple[int, ...]:
    """The shape of at most ``most`` voxels whose voxels are as nearly cubes as the volume allows."""
    extent = np.multiply(shape, spacing_mm)
    low, high = 0.0, float(max(spacing_mm)) * max(shape)
    for _ in range(40):  # bisection: larger cubes, fewer voxels
        edge = (low + high) / 2
        low, high = (edge, high) if _voxels(shape, extent, edge) > most else (low, edge)
    return tuple(int(n) for n in np.minimum(shape, np.maximum(1, np.round(extent / high))))


def _voxels(shape: Sequence[int], extent: NDArray[np.float64], edge: float) -> float:
    return float(np.prod(np.minimum(shape, np.maximum(1, np.round(extent / edge)))))


def _tiled(volume: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """All slices as one picture, ``columns`` in a row."""
    slices, height, width = volume.shape
    rows = ceil(slices / columns)
    tiles = np.zeros((rows * columns, height, width), np.uint8)
    tiles[:slices] = volume
    return tiles.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def _data_url(pixels: NDArray[np.uint8], kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode('ascii')}"
