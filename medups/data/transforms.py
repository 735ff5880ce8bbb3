"""Dict transforms that MONAI lacks, and a faster way to run MONAI's own."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data import get_track_meta, set_track_meta
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from numpy.typing import NDArray
from scipy import ndimage

from medups.data.volumes.resize import resized_shape

_PIXELS_AT_ONCE = 32
_NEGLIGIBLE = 1e-9


def zoom_image(pixels: NDArray[Any], size: Sequence[int]) -> NDArray[np.float32]:
    """Cubic spline resize of a slice [H, W] with aligned corner pixels, as in TransUNet's published code.

    ``scipy.ndimage.zoom`` is linear and identical for every line, so it is computed as a matrix product.
    """
    values = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
    if pixels.shape == tuple(size):
        return values.numpy()
    for n, goal in zip(pixels.shape, size, strict=True):  # rows, then columns: the transpose swaps them
        values = torch.cat([weights @ values[begin:end] for begin, end, weights in _splines(n, goal)]).T
    return values.contiguous().numpy()


def zoom_labels(pixels: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Nearest-pixel resize of a slice [H, W] with aligned corner pixels, equal to ``scipy.ndimage.zoom``."""
    if pixels.shape == tuple(size):
        return pixels
    rows, columns = (_nearest(n, goal) for n, goal in zip(pixels.shape, size, strict=True))
    zoomed = pixels.take(rows, 0).take(columns, 1)
    zoomed[rows < 0], zoomed[:, columns < 0] = 0, 0
    return zoomed


@contextmanager
def without_transform_record() -> Iterator[None]:
    """Turn off MONAI's record of applied transforms, which takes longer than the transforms and is unused."""
    tracked = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(tracked)


@lru_cache(maxsize=64)
def _splines(n: int, goal: int) -> list[tuple[int, int, torch.Tensor]]:
    """For blocks of the ``goal`` pixels: the range of the ``n`` pixels they read, and weights [block, end - begin].

    The weights are SciPy's response to each single pixel; those of distant pixels vanish in float32 and are omitted.
    """
    weights = ndimage.zoom(np.eye(n), (goal / n, 1), order=3)
    blocks = []
    for block in np.array_split(weights, -(-goal // _PIXELS_AT_ONCE)):
        near = np.flatnonzero((np.abs(block) > _NEGLIGIBLE).any(0))
        begin, end = (int(near[0]), int(near[-1]) + 1) if len(near) else (0, 1)
        blocks.append((begin, end, torch.from_numpy(block[:, begin:end].astype(np.float32))))
    return blocks


@lru_cache(maxsize=64)
def _nearest(n: int, goal: int) -> NDArray[np.int64]:
    """The source pixel of each of ``goal`` pixels; -1 where SciPy's rounding puts the last one beyond the end."""
    indices: NDArray[np.int64] = ndimage.zoom(np.arange(n), goal / n, order=0, cval=-1)
    return indices


class ZoomSliced(MapTransform):
    """Resize slices [1, H, W] to ``size``: cubic splines for images, nearest for labels, corners aligned.

    Args:
        keys: entries to resize.
        size: height and width.
        label_keys: the ``keys`` that hold labels.
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


class ToSpacingd(MapTransform, InvertibleTransform):
    """Resample volumes [C, *size] to ``spacing`` over the same extent, as medups does, so that MONAI can invert it.

    Args:
        keys: entries to resample, MetaTensors.
        spacing: millimeters along the axes.
    """

    def __init__(self, keys: KeysCollection, spacing: Sequence[float]) -> None:
        super().__init__(keys)
        self.spacing = tuple(spacing)
        self._resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        resampled = dict(data)
        for key in self.key_iterator(resampled):
            image = resampled[key]
            shape = tuple(image.shape[1:])
            new = resized_shape(shape, tuple(image.pixdim.tolist()), self.spacing)
            steps = np.array(shape) / new
            from_new = np.eye(4)  # voxel indices of the new grid to those of the old one
            from_new[:3, :3], from_new[:3, 3] = np.diag(steps), (steps - 1) / 2
            resampled[key] = self._resample(image, dst_affine=image.affine @ from_new, spatial_size=new)
        return resampled

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        restored = dict(data)
        for key in self.key_iterator(restored):
            restored[key] = self._resample.inverse(restored[key])
        return restored
