"""Sliding-window inference of 3-D networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medups.inference.slices import OnFraction
from medups.tasks.volume import decode_ids


class WindowInferer:
    """Label map of a volume [S, H, W]: overlapping windows whose logits are blended with Gaussian weights.

    Args:
        roi_size: voxels of a window along each axis.
        overlap: fraction of a window that overlaps the next one.
        sw_batch_size: windows per forward pass.
    """

    def __init__(self, roi_size: Sequence[int], overlap: float = 0.5, sw_batch_size: int = 1) -> None:
        self.roi_size = tuple(roi_size)
        self.overlap = overlap
        self.sw_batch_size = sw_batch_size

    def __call__(
        self,
        image: NDArray[np.float32],
        network: Callable[[Tensor], Tensor],
        device: torch.device | str = "cpu",
        shape: tuple[int, ...] | None = None,
        progress: OnFraction | None = None,
    ) -> NDArray[np.uint8]:
        """``image`` [S, H, W], preprocessed -> ids [S, H, W], or of ``shape``: logits are resized linearly.

        ``progress`` is called with the completed fraction, 0 to 1.
        """
        total = self._batches(image.shape)
        done = 0

        def predictor(windows: Tensor) -> Tensor:
            nonlocal done
            logits = network(windows)
            done += 1
            if progress is not None:
                progress(min(1.0, done / total))
            return logits

        with torch.inference_mode():
            logits = sliding_window_inference(
                torch.from_numpy(np.asarray(image, dtype=np.float32))[None, None],
                self.roi_size,
                self.sw_batch_size,
                predictor,
                overlap=self.overlap,
                mode="gaussian",
                padding_mode="replicate",
                sw_device=device,
                device="cpu",
            )
            assert isinstance(logits, Tensor)
            if shape is not None and tuple(logits.shape[2:]) != tuple(shape):
                logits = F.interpolate(logits, size=tuple(shape), mode="trilinear", align_corners=False)
            return decode_ids(logits)[0].numpy()

    def _batches(self, shape: tuple[int, ...]) -> int:
        windows = 1
        for n, roi in zip(shape, self.roi_size, strict=True):
            step = max(1, int(roi * (1 - self.overlap)))
            windows *= max(1, ceil(max(0, n - roi) / step) + 1)
        return ceil(windows / self.sw_batch_size)
