"""torchvision's operators for detectors in PyTorch, for builds of torchvision without compiled ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Numbers of the boxes [N, 4] (left, top, right, bottom) that no box with a higher score overlaps, best first."""
    order = scores.argsort(descending=True, stable=True)
    left, top, right, bottom = boxes[order].float().unbind(1)
    areas = (right - left) * (bottom - top)
    kept = []
    rest = torch.arange(len(order), device=boxes.device)
    while len(rest):
        first, rest = rest[0], rest[1:]
        kept.append(first)
        width = torch.minimum(right[first], right[rest]) - torch.maximum(left[first], left[rest])
        height = torch.minimum(bottom[first], bottom[rest]) - torch.maximum(top[first], top[rest])
        both = width.clamp(min=0) * height.clamp(min=0)
        rest = rest[~(both > iou_threshold * (areas[first] + areas[rest] - both))]
    return order[torch.stack(kept)] if kept else order


def roi_align(
    x: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average of linear samples in every bin of every box.

    Args:
        x: [B, C, H, W].
        rois: [K, 5], the picture's number and the box.
        sampling_ratio: samples per bin along both axes; 0 or less for one per pixel of the box, rounded up.

    Returns:
        [K, C, pooled_height, pooled_width]
    """
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0)
    sizes = corners[:, 2:] - corners[:, :2]
    if not aligned:
        sizes = sizes.clamp(min=1)
    counts = torch.full_like(sizes, sampling_ratio, dtype=torch.long)
    if sampling_ratio < 1:
        counts = (sizes / sizes.new_tensor([pooled_width, pooled_height])).ceil().long().clamp(min=1)
    bins = pooled_width, pooled_height
    out = x.new_zeros(len(rois), x.shape[1], pooled_height, pooled_width)
    for samples in counts.unique(dim=0):
        chosen = (counts == samples).all(1)
        across, down = (
            _places(corners[chosen, axis], sizes[chosen, axis], bins[axis], int(samples[axis])) for axis in (0, 1)
        )
        values = _sampled(x, rois[chosen, 0].long(), down, across)
        values = values.unflatten(2, (pooled_width, -1)).unflatten(1, (pooled_height, -1)).mean((2, 4))
        out = out.index_put((chosen.nonzero()[:, 0],), values.movedim(-1, 1))
    return out


def _places(start: Tensor, size: Tensor, bins: int, samples: int) -> Tensor:
    """[K, bins * samples]: evenly spaced places from ``start``."""
    steps = (torch.arange(bins * samples, device=start.device, dtype=start.dtype) + 0.5) / (bins * samples)
    return start[:, None] + size[:, None] * steps


def _sampled(x: Tensor, picture: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """``x`` at rows ``down`` [K, H'] and columns ``across`` [K, W'] of the pictures [K]: [K, H', W', C]."""
    height, width = x.shape[2:]
    table = x.movedim(1, -1).reshape(-1, x.shape[1])
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for row, row_weight in _taps(down, height):
        for column, column_weight in _taps(across, width):
            place = (picture[:, None, None] * height + row[:, :, None]) * width + column[:, None, :]
            weight = row_weight[:, :, None] * column_weight[:, None, :]
            total = total + F.embedding(place, table) * weight[..., None].to(x.dtype)
    return total


def _taps(place: Tensor, length: int) -> list[tuple[Tensor, Tensor]]:
    """The two pixels around each place and their weights, 0 if the place is more than a pixel outside."""
    inside = ((place >= -1) & (place <= length)).to(place.dtype)
    place = place.clamp(0, length - 1)
    first = place.floor().long()
    fraction = place - first
    return [(first, (1 - fraction) * inside), ((first + 1).clamp(max=length - 1), fraction * inside)]
