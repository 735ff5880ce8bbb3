"""Blend overlapping windows row by row, so that the logits of a whole volume are never in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import ceil

import numpy as np
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from numpy.typing import NDArray
from torch import Tensor

from medups.tasks.volume import decode_ids, uncertainty_percent

_SMALLEST_WEIGHT = 1e-3  # as in MONAI's sliding-window inference
_SIGMA_SCALE = 0.125

Box = tuple[slice, slice, slice]


def window_rows(shape: Sequence[int], roi_size: Sequence[int], overlap: float) -> list[list[Box]]:
    """The windows that cover a volume, those of MONAI, grouped by their first row."""
    steps = [n if n == roi else max(1, int(roi * (1 - overlap))) for n, roi in zip(shape, roi_size, strict=True)]
    boxes = dense_patch_slices(shape, roi_size, steps)
    return [list(group) for _, group in groupby(boxes, key=lambda box: box[0].start)]


def gaussian_weights(roi_size: Sequence[int]) -> Tensor:
    """MONAI's weight of each voxel of a window, largest at the center."""
    weights = compute_importance_map(tuple(roi_size), mode="gaussian", sigma_scale=_SIGMA_SCALE, dtype=torch.float32)
    return weights.clamp(min=max(float(weights.min()), _SMALLEST_WEIGHT))


class Resizing:
    """Linear interpolation along one axis, from ``n`` pixels to ``goal`` over the same extent.

    Each output pixel depends on its two neighbors alone, so any part can be computed from the pixels it needs.
    """

    def __init__(self, n: int, goal: int) -> None:
        at = ((torch.arange(goal, dtype=torch.float64) + 0.5) * (n / goal) - 0.5).clamp(0, n - 1)
        self.lower = at.floor().long()
        self.upper = (self.lower + 1).clamp(max=n - 1)
        self.share = (at - self.lower).float()
        self.is_identity = n == goal

    def needed(self, begin: int, end: int) -> tuple[int, int]:
        """The range of pixels that the outputs ``begin`` to ``end`` depend on."""
        return int(self.lower[begin]), int(self.upper[end - 1]) + 1

    def along(self, values: Tensor, dim: int, begin: int, end: int, offset: int = 0) -> Tensor:
        """Outputs ``begin`` to ``end`` along ``dim`` of ``values``, whose first pixel is number ``offset``."""
        if self.is_identity:
            return values.narrow(dim, begin - offset, end - begin)
        lower, upper = (
            values.index_select(dim, index[begin:end].sub(offset).to(values.device))
            for index in (self.lower, self.upper)
        )
        share = self.share[begin:end].to(values.device)
        return torch.lerp(lower, upper, share.reshape([-1 if axis == dim else 1 for axis in range(values.ndim)]))


@dataclass(frozen=True)
class Strip:
    """A part of the second axis: its range in the ids, and the range of logits that they depend on."""

    ids: slice
    logits: slice

    @property
    def width(self) -> int:
        """Columns of logits."""
        return int(self.logits.stop - self.logits.start)


def strips(columns: Resizing, goal: int, count: int) -> list[Strip]:
    """``count`` strips of about the same width that make up ``goal`` columns of ids."""
    ends = [round(goal * number / count) for number in range(count + 1)]
    return [
        Strip(slice(begin, end), slice(*columns.needed(begin, end))) for begin, end in pairwise(ends) if end > begin
    ]


class Blender:
    """The weighted sums of windows in one strip, for as many rows as a window has.

    Args:
        classes: channels of the logits.
        strip: columns of the volume; they begin at ``offset`` in the padded volume.
        width: pixels of the volume along the third axis.
        weights: of the voxels of a window [rows, h, w].
        device: where the sums are.
    """

    def __init__(
        self, classes: int, strip: Strip, offset: int, width: int, weights: Tensor, device: torch.device | str
    ) -> None:
        self.depth = len(weights)
        self._begin, self._end = strip.logits.start + offset, strip.logits.stop + offset
        self._weights = weights.to(device)
        self._sums = torch.zeros(self.depth, classes, strip.width, width, device=device)
        self._totals = torch.zeros(self.depth, 1, strip.width, width, device=device)

    def overlaps(self, box: Box) -> bool:
        """Whether a window has columns in the strip."""
        return bool(box[1].start < self._end and box[1].stop > self._begin)

    def add(self, box: Box, logits: Tensor) -> None:
        """Add the logits [C, rows, h, w] of one window."""
        inside = slice(max(self._begin - box[1].start, 0), min(self._end, box[1].stop) - box[1].start)
        weights = self._weights[:, inside]
        values = (logits[:, :, inside].to(weights.device, torch.float32) * weights).movedim(0, 1)
        start = max(box[1].start, self._begin) - self._begin
        columns = slice(start, start + weights.shape[1])
        first = box[0].start % self.depth  # rows take turns: the window wraps around the end
        until_end = self.depth - first
        for rows, part in ((slice(first, None), slice(until_end)), (slice(first), slice(until_end, None))):
            self._sums[rows, :, columns, box[2]] += values[part]
            self._totals[rows, :, columns, box[2]] += weights[part, None]

    def finished(self, begin: int, end: int) -> Iterator[Tensor]:
        """The blended logits [C, columns, W] of rows that no further window covers; their place is used again."""
        for row in range(begin, end):
            place = row % self.depth
            yield self._sums[place] / self._totals[place]
            self._sums[place].zero_()
            self._totals[place].zero_()

    def to(self, device: torch.device | str) -> None:
        """Move the sums."""
        self._weights, self._sums, self._totals = (x.to(device) for x in (self._weights, self._sums, self._totals))


class IdsOfRows:
    """Writes the ids of one strip of a volume, from the logits of its rows, resized linearly along all axes.

    Args:
        ids: of the whole volume, [S, H, W].
        uncertainty: of the same shape, or None.
        strip: the columns to write.
        rows, columns, width: the resizing along each axis.
    """

    def __init__(
        self,
        ids: NDArray[np.uint8],
        uncertainty: NDArray[np.uint8] | None,
        strip: Strip,
        rows: Resizing,
        columns: Resizing,
        width: Resizing,
    ) -> None:
        self._ids, self._uncertainty, self._strip = ids, uncertainty, strip
        self._rows, self._columns, self._width = rows, columns, width
        self._next = self._added = 0
        self._previous: Tensor | None = None

    def add(self, logits: Tensor) -> None:
        """The logits [C, columns of the strip, W] of the next row."""
        row, self._added = self._added, self._added + 1
        strip = self._strip
        plane = self._columns.along(logits, 1, strip.ids.start, strip.ids.stop, strip.logits.start)
        plane = self._width.along(plane, 2, 0, self._ids.shape[2])
        while self._next < len(self._ids) and int(self._rows.upper[self._next]) <= row:
            blended = plane
            if int(self._rows.lower[self._next]) < row and self._previous is not None:
                blended = torch.lerp(self._previous, plane, float(self._rows.share[self._next]))
            self._ids[self._next, strip.ids] = decode_ids(blended, 0).cpu().numpy()
            if self._uncertainty is not None:
                self._uncertainty[self._next, strip.ids] = uncertainty_percent(blended, 0).cpu().numpy()
            self._next += 1
        self._previous = plane


def blending_bytes(roi_size: Sequence[int], plane: Sequence[int], classes: int) -> int:
    """Memory of a :class:`Blender` of one strip as wide as the volume."""
    return 4 * roi_size[0] * (classes + 1) * plane[0] * plane[1]


def batches(rows: list[list[Box]], size: int) -> int:
    """The number of forward passes."""
    return sum(ceil(len(row) / size) for row in rows)
