"""Sliding-window inference of 3-D networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medups.data.labels import MASK_DTYPE
from medups.inference.blending import (
    Blender,
    Box,
    IdsOfRows,
    Resizing,
    Strip,
    batches,
    blending_bytes,
    gaussian_weights,
    strips,
    window_rows,
)
from medups.inference.monai_batch import accepts_batch
from medups.inference.slices import OnFraction

_GIB = 2**30
_ON_HOST = "the GPU is out of memory: windows are blended in the host's memory"


class WindowInferer:
    """Label map of a volume [S, H, W]: overlapping windows whose logits are blended with Gaussian weights.

    The windows, their weights and the order of the sums are those of MONAI's sliding-window inference; only the rows of
    one window are in memory at a time, and the ids of a row are decided as soon as no further window covers it. With
    many classes the volume is divided into strips, and the windows on their borders are computed twice.

    Args:
        roi_size: voxels of a window along each axis.
        overlap: fraction of a window that overlaps the next one.
        sw_batch_size: windows per forward pass.
        blending_gib: the most memory for the sums of logits.
    """

    def __init__(
        self, roi_size: Sequence[int], overlap: float = 0.5, sw_batch_size: int = 1, blending_gib: float = 2.0
    ) -> None:
        self.roi_size = tuple(roi_size)
        self.overlap = overlap
        self.sw_batch_size = sw_batch_size
        self.blending_gib = blending_gib

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
        """``image`` [S, H, W], preprocessed -> ids [S, H, W], or of ``shape``: logits are resized linearly.

        A GPU that runs out of memory gets half as many windows at a time, and at last leaves the sums to the host.

        Args:
            progress: called with the completed fraction, 0 to 1.
            uncertainty: of the ids' shape, is overwritten with
                :func:`~medups.tasks.volume.uncertainty_percent`.
        """
        volume, place = self._padded(image)
        rows = window_rows(volume.shape, self.roi_size, self.overlap)
        ids = np.empty(tuple(shape or image.shape), dtype=MASK_DTYPE)
        axes = [Resizing(n, goal) for n, goal in zip(image.shape, ids.shape, strict=True)]
        with torch.inference_mode():
            runner = _Runner(network, torch.device(device), self.sw_batch_size)
            classes = runner.logits(volume, rows[0][:1]).shape[1]
            count = ceil(self._blending_bytes(image.shape, classes) / (self.blending_gib * _GIB))
            parts = strips(axes[1], ids.shape[1], min(count, ids.shape[1]))
            for number, strip in enumerate(parts):
                report = _part_of(progress, number, len(parts))
                result = IdsOfRows(ids, uncertainty, strip, *axes)
                for index, logits in self._blended(volume, rows, runner, (classes, strip, place[1].start), report):
                    if place[0].start <= index < place[0].stop:
                        result.add(logits[:, :, place[2]])
        return ids

    def memory_bytes(self, shape: Sequence[int], classes: int) -> int:
        """Host memory for a preprocessed volume of ``shape``, beyond the network's own for its windows."""
        return int(min(self._blending_bytes(shape, classes), self.blending_gib * _GIB))

    def _blending_bytes(self, shape: Sequence[int], classes: int) -> int:
        """Memory for the sums of logits, if the volume is not divided into strips."""
        width = max(shape[2], self.roi_size[2])
        return blending_bytes(self.roi_size, (shape[1], width), classes)

    def _blended(
        self,
        volume: Tensor,
        rows: list[list[Box]],
        runner: _Runner,
        part: tuple[int, Strip, int],
        report: OnFraction,
    ) -> Iterator[tuple[int, Tensor]]:
        """The rows of the padded volume and their blended logits, one after the other.

        The sums live as long as this generator, so that those of two strips are never in memory together.

        Args:
            part: the number of classes, the strip, and where its columns begin in the padded volume.
        """
        classes, strip, offset = part
        blender = runner.blender(classes, strip, offset, volume.shape[2], gaussian_weights(self.roi_size))
        chosen = [[box for box in row if blender.overlaps(box)] for row in rows]
        total, done = batches(chosen, self.sw_batch_size), 0
        for number, row in enumerate(chosen):
            for start in range(0, len(row), self.sw_batch_size):
                runner.add(volume, row[start : start + self.sw_batch_size], blender)
                done += 1
                report(done / total)
            begin = row[0][0].start
            end = rows[number + 1][0][0].start if number + 1 < len(rows) else volume.shape[0]
            yield from enumerate(blender.finished(begin, end), begin)

    def _padded(self, image: NDArray[np.float32]) -> tuple[Tensor, Box]:
        """The volume, padded at both ends to the size of a window, and the place of the image in it."""
        volume = torch.from_numpy(np.asarray(image, dtype=np.float32))
        ends = [divmod(max(0, roi - n), 2) for n, roi in zip(image.shape, self.roi_size, strict=True)]
        if any(half or odd for half, odd in ends):
            widths = [width for half, odd in reversed(ends) for width in (half, half + odd)]
            volume = F.pad(volume[None, None], widths, mode="replicate")[0, 0]
        starts = [half for half, _ in ends]
        first, second, third = (slice(start, start + n) for start, n in zip(starts, image.shape, strict=True))
        return volume, (first, second, third)


class _Runner:
    """Runs the network on windows, with less at a time when the GPU is out of memory."""

    def __init__(self, network: Callable[[Tensor], Tensor], device: torch.device, batch: int) -> None:
        self._network, self._device, self._batch = network, device, batch
        self._sums_on = device

    def logits(self, volume: Tensor, boxes: list[Box]) -> Tensor:
        """Logits [windows, C, *roi_size]."""
        return self._network(torch.stack([volume[box] for box in boxes])[:, None].to(self._device))

    def add(self, volume: Tensor, boxes: list[Box], blender: Blender) -> None:
        """Add the logits of windows to the sums."""
        start = 0
        while start < len(boxes):
            chosen = boxes[start : start + self._batch]
            try:
                for box, one in zip(chosen, self.logits(volume, chosen), strict=True):
                    blender.add(box, one)
                    start += 1  # a window whose sums did not fit is repeated, those before it are not
            except torch.OutOfMemoryError:
                self._need_less(blender)

    def blender(self, classes: int, strip: Strip, offset: int, width: int, weights: Tensor) -> Blender:
        """Empty sums, on the host if the GPU has no room for them."""
        try:
            return Blender(classes, strip, offset, width, weights, self._sums_on)
        except torch.OutOfMemoryError:
            if self._sums_on.type == "cpu":
                raise
            self._sums_on = torch.device("cpu")
            warn(_ON_HOST, stacklevel=2)
            return Blender(classes, strip, offset, width, weights, self._sums_on)

    def _need_less(self, blender: Blender) -> None:
        """Halve the batch, then move the sums to the host. Raises torch.OutOfMemoryError if both are done."""
        if self._batch > 1:
            self._batch //= 2
            warn(f"the GPU is out of memory: windows per pass reduced to {self._batch}", stacklevel=2)
        elif self._sums_on.type != "cpu":
            self._sums_on = torch.device("cpu")
            blender.to(self._sums_on)
            warn(_ON_HOST, stacklevel=2)
        else:
            raise  # the error that is being handled
        torch.cuda.empty_cache()


def _part_of(progress: OnFraction | None, number: int, parts: int) -> OnFraction:
    """Progress of one of several parts."""
    return lambda fraction: None if progress is None else progress((number + fraction) / parts)
