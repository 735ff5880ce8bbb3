"""The guided filter: the input as a locally linear function of a guide."""

from __future__ import annotations

from torch import Tensor

from medups.ops.backend import Backend, choose_backend
from medups.ops.box_sums import box_mean
from medups.ops.dtypes import wide_dtype
from medups.ops.grid import kept_pixels
from medups.ops.guided_filtering.reference import guided_filter_reference
from medups.ops.resizing import resize_linear


def guided_filter(
    guide: Tensor, x: Tensor, *, radius: int, eps: float, subsample: int = 1, backend: Backend | None = None
) -> Tensor:
    """Filter ``x`` guided by ``guide``, channel by channel.

    Args:
        guide: [B, C, *size]; all statistics are float32 or wider.
        x: [B, C, *size], or already subsampled to the pixels that ``subsample`` keeps.
        radius: radius of the box in guide pixels; ``radius // subsample`` on the small grid.
        eps: added to the variance of the guide.
        subsample: statistics use every ``subsample``-th pixel and are interpolated linearly in between.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, C, *size] in the dtype of ``guide``.

    Raises:
        ValueError: mismatched shapes.

    Source: He et al., Fast Guided Filter (arXiv 1505.00996).
    """
    wide = wide_dtype(guide.dtype)
    small_guide = _take_every(guide, subsample)
    small_x = x if x.shape == small_guide.shape else _take_every(x, subsample)
    if small_x.shape != small_guide.shape:
        raise ValueError(f"guided_filter: x of {tuple(x.shape)} does not fit guide of {tuple(guide.shape)}")
    chosen = choose_backend(backend, guide, x)
    small_radius = radius // subsample
    if chosen == "reference":
        return guided_filter_reference(guide, small_guide, small_x, small_radius, eps)
    a, b = _coefficients(small_guide.to(wide), small_x.to(wide), small_radius, eps, chosen)
    slope, offset = (resize_linear(value, guide.shape[2:], backend=chosen) for value in (a, b))
    return (slope * guide.to(wide) + offset).to(guide.dtype)


def _take_every(x: Tensor, step: int) -> Tensor:
    """Every ``step``-th pixel along each spatial axis, as :func:`kept_pixels` counts them."""
    for axis in range(2, x.ndim):
        x = x[(slice(None),) * axis + (slice(0, kept_pixels(x.shape[axis], step) * step, step),)]
    return x


def _coefficients(guide: Tensor, x: Tensor, radius: int, eps: float, backend: Backend) -> tuple[Tensor, Tensor]:
    """Local linear fit ``x = a * guide + b`` over boxes, averaged over the boxes that contain a pixel."""

    def mean(values: Tensor) -> Tensor:
        return box_mean(values, radius, backend)

    mean_guide, mean_x = mean(guide), mean(x)
    covariance = mean(guide * x) - mean_guide * mean_x
    variance = mean(guide * guide) - mean_guide * mean_guide
    a = covariance / (variance + eps)
    return mean(a), mean(mean_x - a * mean_guide)
