"""MONAI dict transforms that MONAI does not have."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage


def zoom_image(pixels: NDArray[Any], size: Sequence[int]) -> NDArray[np.float32]:
    """Cubic spline resize of a slice [H, W] with corner pixels on each other, as TransUNet's published code does.

    What ``scipy.ndimage.zoom`` computes is linear and the same for every line, so it is two small products of matrices.
    """
    values = torch.from_numpy(np.array(pixels, dtype=np.float32))
    if pixels.shape == tuple(size):
        return values.numpy()
    rows, columns = (_splines(n, goal) for n, goal in zip(pixels.shape, size, strict=True))
    return (rows @ values @ columns.T).numpy()


def zoom_labels(pixels: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """The nearest pixels of a slice [H, W], corner pixels on each other, as ``scipy.ndimage.zoom`` finds them."""
    if pixels.shape == tuple(size):
        return pixels
    rows, columns = (_nearest(n, goal) for n, goal in zip(pixels.shape, size, strict=True))
    zoomed = pixels[rows[:, None], columns]
    zoomed[rows < 0], zoomed[:, columns < 0] = 0, 0
    return zoomed


@lru_cache(maxsize=64)
def _splines(n: int, goal: int) -> torch.Tensor:
    """What each of ``goal`` pixels takes of ``n``: SciPy's answer to each single pixel. Float32 [goal, n]."""
    return torch.from_numpy(ndimage.zoom(np.eye(n), (goal / n, 1), order=3).astype(np.float32))


@lru_cache(maxsize=64)
def _nearest(n: int, goal: int) -> NDArray[np.int64]:
    """Which pixel each of ``goal`` takes; -1 for the last one where rounding puts it beyond the end, as SciPy has it."""
    picked: NDArray[np.int64] = ndimage.zoom(np.arange(n), goal / n, order=0, cval=-1)
    return picked


class ZoomSliced(MapTransform):
    """Resize slices [1, H, W] to ``size``: cubic splines for images, nearest for labels, corners aligned.

    Args:
        keys: to resize.
        size: height and width.
        label_keys: those of ``keys`` that hold labels.
    """

    def __init__(self, keys: KeysCollection, size: Sequence[int], label_keys: Sequence[str] = ("label",)) -> None:
        super().__init__(keys)
        self.size = tuple(size)
        self.label_keys = tuple(label_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        resized = dict(data)
        for key in self.key_iterator(resized):
            pixels = np.asarray(resized[key])[0]
            zoom = zoom_labels if key in self.label_keys else zoom_image
            resized[key] = torch.from_numpy(np.ascontiguousarray(zoom(pixels, self.size))[None])
        return resized
