"""Inference on pictures of any size: as a whole, or by overlapping squares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medups.data.pictures.transforms import fitting_ratio

_LEAST = 32  # pixels along the shorter side, the stride of the coarsest maps; narrower pictures are enlarged
_STRIP = 2**25  # logits that are enlarged at a time


class PictureInferer:
    """Classes of a picture of any size, as in mmsegmentation's test code.

    Args:
        mode: ``whole``, or ``slide`` for networks with a fixed input size: the logits of overlapping squares are
            averaged.
        short, long: the most pixels along both sides that the network sees, keeping the proportions; None: no limit.
        crop, stride: of the squares. A picture that is smaller than a square is enlarged until it fits.
    """

    def __init__(
        self,
        mode: Literal["whole", "slide"] = "whole",
        short: int | None = 512,
        long: int | None = 2048,
        crop: int = 512,
        stride: int = 512,
    ) -> None:
        if mode not in ("whole", "slide"):
            raise ValueError(f"PictureInferer: mode must be 'whole' or 'slide', got {mode!r}")
        if not 1 <= stride <= crop:
            raise ValueError(f"PictureInferer: stride must be 1 to crop={crop}, got {stride}")
        self.mode, self.short, self.long, self.crop, self.stride = mode, short, long, crop, stride

    def __call__(
        self, image: Tensor, network: Callable[[Tensor], Tensor], device: torch.device | str = "cpu"
    ) -> NDArray[np.uint8]:
        """``image`` [3, H, W], preprocessed -> the channel of each pixel [H, W]."""
        size = (int(image.shape[1]), int(image.shape[2]))
        least = self.crop if self.mode == "slide" else _LEAST
        ratio = max(fitting_ratio(size, self.short, self.long), least / min(size))
        seen = tuple(max(1, round(n * ratio)) for n in size)
        with torch.inference_mode():
            batch = _resized(image.to(device)[None], seen)
            logits = _resized(network(batch).float(), seen) if self.mode == "whole" else self._slide(batch, network)
            channels = np.empty(size, dtype=np.uint8)
            for rows, strip in _strips(logits, size):
                channels[rows] = strip.argmax(1)[0].to(torch.uint8).cpu().numpy()
        return channels

    def _slide(self, batch: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        total: Tensor | None = None
        height, width = batch.shape[2:]
        count = batch.new_zeros(height, width)
        for top in _starts(height, self.crop, self.stride):
            for left in _starts(width, self.crop, self.stride):
                rows, columns = slice(top, top + self.crop), slice(left, left + self.crop)
                logits = _resized(network(batch[:, :, rows, columns]).float(), (self.crop, self.crop))
                if total is None:
                    total = logits.new_zeros(1, logits.shape[1], height, width)
                total[:, :, rows, columns] += logits
                count[rows, columns] += 1
        assert total is not None  # at least one square
        return total / count


def _starts(length: int, crop: int, stride: int) -> Iterator[int]:
    """Where squares begin along one axis; the last one ends at the picture's end."""
    for start in range(0, max(0, length - crop) + stride, stride):
        yield min(start, length - crop)
        if start + crop >= length:
            return


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)


def _strips(logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Logits [1, K, h, w] enlarged to ``size``, some rows at a time, so that large pictures fit into memory."""
    height, width = size
    if logits.shape[2:] == size:
        yield slice(0, height), logits
        return
    rows = max(1, _STRIP // (logits.shape[1] * width))
    places = (torch.arange(height, device=logits.device) + 0.5) * logits.shape[2] / height - 0.5
    places = places.clamp(0, logits.shape[2] - 1)
    for start in range(0, height, rows):
        own = places[start : start + rows]
        first = own.floor().long()
        after = (first + 1).clamp(max=logits.shape[2] - 1)
        upper, lower = logits[:, :, first], logits[:, :, after]
        mixed = torch.lerp(upper, lower, (own - first)[:, None].to(logits.dtype))
        yield slice(start, start + len(own)), _resized(mixed, (len(own), width))
