"""Which images a network takes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def checked_size(name: str, img_size: int | Sequence[int], step: int) -> tuple[int, int]:
    """Height and width; raises ValueError, with the next size that fits, unless they are multiples of ``step``."""
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if height % step or width % step or min(height, width) < 2 * step:
        fit = [max(2, -(-n // step)) * step for n in (height, width)]
        raise ValueError(
            f"{name}: img_size must be multiples of {step}, got {height} x {width}; use {fit[0]} x {fit[1]}"
        )
    return height, width


def three_channels(name: str, image: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """The image as an encoder reads it, one channel repeated to three; raises ValueError for another shape."""
    if image.ndim != 4 or image.shape[1] != channels or tuple(image.shape[2:]) != size:
        raise ValueError(f"{name}: built for images [B, {channels}, {size[0]}, {size[1]}], got {tuple(image.shape)}")
    return image.expand(-1, 3, -1, -1) if channels == 1 else image
