"""Slice-wise inference of 2-D networks, as in TransUNet's published test code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medups.data.labels import MASK_DTYPE
from medups.data.transforms import zoom_image, zoom_labels
from medups.inference.monai_batch import accepts_batch
from medups.tasks.volume import decode_ids, uncertainty_percent

OnFraction = Callable[[float], None]


class SliceInferer:
    """Label map of a volume [S, H, W]: cubic resize of each slice, network, argmax, nearest resize back.

    Args:
        size: height and width that the network takes, or one number for both.
        batch_size: slices per forward pass.
    """

    def __init__(self, size: int | tuple[int, int], batch_size: int = 8) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.batch_size = batch_size

    def memory_bytes(self, shape: Sequence[int], classes: int) -> int:
        """Host memory for a preprocessed volume of ``shape``, beyond the network's own for its slices."""
        del shape
        return 4 * (classes + 1) * self.batch_size * self.size[0] * self.size[1]

    @accepts_batch
    def __call__(
        self,
        image: NDArray[np.float32],
        network: Callable[[Tensor], Tensor],
        device: torch.device | str = "cpu",
        shape: tuple[int, ...] | None = None,
        progress: OnFraction | None = None,
        uncertainty: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """``image`` [S, H, W], preprocessed -> ids [S, H, W], or of ``shape`` along H and W.

        Args:
            progress: called with the completed fraction, 0 to 1.
            uncertainty: of the ids' shape, is overwritten with
                :func:`~medups.tasks.volume.uncertainty_percent`.
        """
        slices, *plane = image.shape
        output_size = tuple(shape[1:]) if shape is not None else tuple(plane)
        if shape is not None and shape[0] != slices:
            raise ValueError(f"SliceInferer: the number of slices cannot change from {slices} to {shape[0]}")
        labels = np.empty((slices, *output_size), dtype=MASK_DTYPE)
        start, count = 0, self.batch_size
        while start < slices:
            rows = range(start, min(start + count, slices))
            batch = np.stack([zoom_image(image[row], self.size) for row in rows])[:, None]
            try:
                with torch.inference_mode():
                    logits = network(torch.from_numpy(batch).to(device))
            except torch.OutOfMemoryError:
                if count == 1:
                    raise
                count //= 2
                warn(f"the GPU is out of memory: slices per pass reduced to {count}", stacklevel=2)
                torch.cuda.empty_cache()
                continue
            start = rows.stop
            for target, decode in ((labels, decode_ids), (uncertainty, uncertainty_percent)):
                if target is not None:
                    for row, small in zip(rows, decode(logits).cpu().numpy(), strict=True):
                        target[row] = zoom_labels(small, output_size)
            if progress is not None:
                progress(rows.stop / slices)
        return labels
