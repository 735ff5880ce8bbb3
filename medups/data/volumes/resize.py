"""Resampling of volumes to another spacing over the same extent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
    import torch  # here, because evaluation shares this module and starts a second faster without it
    from torch.nn import functional as F

    resized = F.interpolate(torch.from_numpy(values)[None, None], size=shape, mode="trilinear", align_corners=False)
    return resized[0, 0].numpy()


def resize_labels(labels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Nearest-neighbor resize over the same extent."""
    if labels.shape == shape:
        return labels
    import torch
    from torch.nn import functional as F

    resized = F.interpolate(torch.from_numpy(labels)[None, None], size=shape, mode="nearest-exact")
    return resized[0, 0].numpy()
