"""MONAI dict transforms that MONAI does not have."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage


def zoom_slice(pixels: NDArray[Any], size: Sequence[int], order: int) -> NDArray[Any]:
    """Spline resize of a slice [H, W] with corner pixels on each other, as TransUNet's published test does."""
    if pixels.shape == tuple(size):
        return pixels
    factors = [goal / n for goal, n in zip(size, pixels.shape, strict=True)]
    return ndimage.zoom(pixels, factors, order=order)


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
            pixels = np.asarray(resized[key])
            order = 0 if key in self.label_keys else 3
            resized[key] = torch.from_numpy(np.ascontiguousarray(zoom_slice(pixels[0], self.size, order))[None])
        return resized
