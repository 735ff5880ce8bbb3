"""Resampling of volumes to another spacing over the same extent."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F


def resized_shape(
    shape: tuple[int, ...], spacing: tuple[float, ...], target: tuple[float, ...] | None
) -> tuple[int, ...]:
    """The shape that covers the same extent at ``target`` millimeters; the same shape if target is None."""
    if target is None:
        return shape
    return tuple(max(1, round(n * mm / goal)) for n, mm, goal in zip(shape, spacing, target, strict=True))


def resize_image(image: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Linear resize over the same extent."""
    values = np.asarray(image, dtype=np.float32)
    if values.shape == shape:
        return values
    resized = F.interpolate(torch.from_numpy(values)[None, None], size=shape, mode="trilinear", align_corners=False)
    return resized[0, 0].numpy()


def resize_labels(labels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Nearest-neighbor resize over the same extent."""
    if labels.shape == shape:
        return labels
    resized = F.interpolate(torch.from_numpy(labels)[None, None], size=shape, mode="nearest-exact")
    return resized[0, 0].numpy()
