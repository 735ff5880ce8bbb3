"""Checks of the images that a network accepts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def checked_size(name: str, img_size: int | Sequence[int], step: int) -> tuple[int, int]:
    """Height and width. Raises ValueError with the next valid size if they are not multiples of ``step``."""
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if height % step or width % step or min(height, width) < 2 * step:
        valid = [max(2, -(-n // step)) * step for n in (height, width)]
        raise ValueError(
            f"{name}: img_size must be multiples of {step}, got {height} x {width}; use {valid[0]} x {valid[1]}"
        )
    return height, width


def three_channels(name: str, image: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """The image, with a single channel repeated to three. Raises ValueError for an unexpected shape."""
    if image.ndim != 4 or image.shape[1] != channels or tuple(image.shape[2:]) != size:
        raise ValueError(f"{name}: expected images [B, {channels}, {size[0]}, {size[1]}], got {tuple(image.shape)}")
    return image.expand(-1, 3, -1, -1) if channels == 1 else image
