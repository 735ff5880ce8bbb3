"""The guided filter: the input, re-expressed as a locally linear function of a guide."""

from __future__ import annotations

from math import prod

from torch import Tensor
from torch.nn import functional as F

from medups.ops.grid import resize_linear
from medups.ops.taps import wide_dtype


def take_every(x: Tensor, step: int) -> Tensor:
    """Every ``step``-th pixel from the first, ``max(1, n // step)`` of them along each spatial axis."""
    for axis in range(2, x.ndim):
        keep = max(1, x.shape[axis] // step)
        x = x[(slice(None),) * axis + (slice(0, keep * step, step),)]
    return x


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over the window of ``2 * radius + 1`` pixels along each axis, counting only pixels inside the image."""
    shape = x.shape
    for axis in range(2, x.ndim):
        rows = x.reshape(shape[0], shape[1] * prod(shape[2:axis]), shape[axis], prod(shape[axis + 1 :]))
        x = F.avg_pool2d(rows, (2 * radius + 1, 1), stride=1, padding=(radius, 0), count_include_pad=False)
    return x.reshape(shape)


def guided_filter(guide: Tensor, x: Tensor, *, radius: int, eps: float, subsample: int = 1) -> Tensor:
    """Guided filter of ``x`` by ``guide``, channel by channel.

    Args:
        guide: [B, C, *size], float32 or wider is used for all statistics.
        x: [B, C, *size], or already taken at the pixels that ``subsample`` keeps.
        radius: of the box in guide pixels; ``radius // subsample`` on the small grid.
        eps: added to the variance of the guide.
        subsample: statistics are taken on every ``subsample``-th pixel and read linearly in between.

    Returns:
        [B, C, *size] in the dtype of ``guide``.

    Source: He et al., Fast Guided Filter (arXiv 1505.00996).
    """
    wide = wide_dtype(guide.dtype)
    small_guide = take_every(guide, subsample).to(wide)
    small_x = x if x.shape == small_guide.shape else take_every(x, subsample)
    if small_x.shape != small_guide.shape:
        raise ValueError(f"guided_filter: x of {tuple(x.shape)} does not fit guide of {tuple(guide.shape)}")
    a, b = _coefficients(small_guide, small_x.to(wide), radius // subsample, eps)
    size = guide.shape[2:]
    return (resize_linear(a, size) * guide.to(wide) + resize_linear(b, size)).to(guide.dtype)


def _coefficients(guide: Tensor, x: Tensor, radius: int, eps: float) -> tuple[Tensor, Tensor]:
    """Local linear fit ``x = a * guide + b`` over boxes, averaged over the boxes a pixel lies in."""
    mean_guide, mean_x = box_mean(guide, radius), box_mean(x, radius)
    covariance = box_mean(guide * x, radius) - mean_guide * mean_x
    variance = box_mean(guide * guide, radius) - mean_guide * mean_guide
    a = covariance / (variance + eps)
    return box_mean(a, radius), box_mean(mean_x - a * mean_guide, radius)
