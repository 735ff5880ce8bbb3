"""Slice-wise inference of 2-D networks, as TransUNet's published test does it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medups.data.transforms import zoom_image, zoom_labels

Progress = Callable[[float], None]


class SliceInferer:
    """Label map of a volume [S, H, W]: cubic resize of each slice, network, argmax, nearest resize back.

    Args:
        size: height and width the network takes, or one number for both.
        batch_size: slices at once.
    """

    def __init__(self, size: int | tuple[int, int], batch_size: int = 8) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.batch_size = batch_size

    def __call__(
        self,
        image: NDArray[np.float32],
        network: Callable[[Tensor], Tensor],
        device: torch.device | str = "cpu",
        shape: tuple[int, ...] | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.uint8]:
        """``image`` [S, H, W], preprocessed -> ids [S, H, W], or of ``shape`` along H and W.

        ``progress`` is called with the share that is done.
        """
        slices, *plane = image.shape
        goal = tuple(shape[1:]) if shape is not None else tuple(plane)
        if shape is not None and shape[0] != slices:
            raise ValueError(f"SliceInferer: slices cannot be resampled, {slices} given and {shape[0]} asked for")
        labels = np.empty((slices, *goal), dtype=np.uint8)
        for start in range(0, slices, self.batch_size):
            rows = range(start, min(start + self.batch_size, slices))
            batch = np.stack([zoom_image(image[row], self.size) for row in rows])[:, None]
            with torch.inference_mode():
                logits = network(torch.from_numpy(batch).to(device))
            small = logits.argmax(1).to(torch.uint8).cpu().numpy()
            for row, found in zip(rows, small, strict=True):
                labels[row] = zoom_labels(found, goal)
            if progress is not None:
                progress(rows.stop / slices)
        return labels
