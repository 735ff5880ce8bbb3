"""MONAI dict transforms that MONAI does not have, and how they are run."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data import get_track_meta, set_track_meta
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage

_PIXELS_AT_ONCE = 32
_NOTHING = 1e-9


def zoom_image(pixels: NDArray[Any], size: Sequence[int]) -> NDArray[np.float32]:
    """Cubic spline resize of a slice [H, W] with corner pixels on each other, as TransUNet's published code does.

    What ``scipy.ndimage.zoom`` computes is linear and the same for every line, so it is products of matrices.
    """
    values = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
    if pixels.shape == tuple(size):
        return values.numpy()
    for n, goal in zip(pixels.shape, size, strict=True):  # rows, then columns, which are rows by then
        values = torch.cat([weights @ values[begin:end] for begin, end, weights in _splines(n, goal)]).T
    return values.contiguous().numpy()


def zoom_labels(pixels: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """The nearest pixels of a slice [H, W], corner pixels on each other, as ``scipy.ndimage.zoom`` finds them."""
    if pixels.shape == tuple(size):
        return pixels
    rows, columns = (_nearest(n, goal) for n, goal in zip(pixels.shape, size, strict=True))
    zoomed = pixels.take(rows, 0).take(columns, 1)
    zoomed[rows < 0], zoomed[:, columns < 0] = 0, 0
    return zoomed


@contextmanager
def without_history() -> Iterator[None]:
    """MONAI notes in each tensor what was done to it, which takes longer than doing it; nobody asks here."""
    tracked = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(tracked)


@lru_cache(maxsize=64)
def _splines(n: int, goal: int) -> list[tuple[int, int, torch.Tensor]]:
    """What ``goal`` pixels take of ``n``, a few pixels at a time: of which ones, and the weights [few, end - begin].

    The weights are SciPy's answer to each single pixel; those of far ones are nothing in float32 and left out.
    """
    weights = ndimage.zoom(np.eye(n), (goal / n, 1), order=3)
    blocks = []
    for few in np.array_split(weights, -(-goal // _PIXELS_AT_ONCE)):
        near = np.flatnonzero((np.abs(few) > _NOTHING).any(0))
        begin, end = (int(near[0]), int(near[-1]) + 1) if len(near) else (0, 1)
        blocks.append((begin, end, torch.from_numpy(few[:, begin:end].astype(np.float32))))
    return blocks


@lru_cache(maxsize=64)
def _nearest(n: int, goal: int) -> NDArray[np.int64]:
    """Which pixel each of ``goal`` takes; -1 for the last where rounding puts it beyond the end, as SciPy has it."""
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
