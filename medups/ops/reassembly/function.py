"""Reassembly: public function and choice of backend."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from medups.ops.backend import Backend, choose_backend
from medups.ops.reassembly.reference import reassemble_reference
from medups.ops.reassembly.torch_path import reassemble_torch

TapMode = Literal["nearest", "linear"]
Border = Literal["zeros", "reflect", "replicate"]


def reassemble(
    x: Tensor,
    weights: Tensor,
    *,
    kernel_size: int,
    taps: TapMode = "nearest",
    border: Border = "zeros",
    softmax: bool = False,
    backend: Backend | None = None,
) -> Tensor:
    """Sum ``kernel_size**d`` taps of ``x`` around each output pixel, weighted by that pixel's kernel.

    Args:
        x: [B, C, *in], d = 2 or 3 spatial axes, any floating dtype.
        weights: [B, G, kernel_size**d, *out], the taps row by row; G divides C and channels are group-major.
        kernel_size: odd, the same along every axis.
        taps: ``nearest``: taps are the input pixels around ``floor(p * in / out)``. ``linear``: taps are
            one input pixel apart around ``(p + 1/2) * in / out - 1/2``, read by linear interpolation, each
            clamped to the grid; ``border`` is ignored.
        border: the values that ``nearest`` taps read outside the grid.
        softmax: treat ``weights`` as logits and apply a softmax over the taps.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, C, *out] in the dtype of ``x``; sums are float32 or wider.

    Raises:
        ValueError: mismatched shapes, an even kernel, unknown ``taps`` or ``border``, a backend that cannot run.
    """
    _check(x, weights, kernel_size, taps, border)
    batch, channels, *n_in = x.shape
    chosen = choose_backend(backend, x, weights)
    if chosen == "reference":
        return reassemble_reference(x, weights, kernel_size, taps, border, softmax)
    linear = taps == "linear"
    if chosen == "triton":
        from medups.ops.reassembly import triton  # imports Triton, so only when needed

        groups = weights.shape[1]
        grouped = x.reshape(batch, groups, channels // groups, *n_in)
        return triton.reassemble(grouped, weights, kernel_size, linear, border, softmax).flatten(1, 2)
    return reassemble_torch(x, weights, kernel_size, linear, border, softmax)


def _check(x: Tensor, weights: Tensor, kernel_size: int, taps: str, border: str) -> None:
    dims = x.ndim - 2
    if dims not in (2, 3) or weights.ndim != x.ndim + 1:
        raise ValueError(
            f"reassemble: x must be [B, C, *in] and weights [B, G, K**d, *out]; "
            f"got {tuple(x.shape)} and {tuple(weights.shape)}"
        )
    if kernel_size % 2 == 0 or kernel_size < 1:
        raise ValueError(f"reassemble: kernel_size must be odd and positive, got {kernel_size}")
    if weights.shape[0] != x.shape[0] or weights.shape[2] != kernel_size**dims or x.shape[1] % weights.shape[1]:
        raise ValueError(
            f"reassemble: weights of {tuple(weights.shape)} do not fit x of {tuple(x.shape)}: expected the same "
            f"batch, groups that divide {x.shape[1]} channels, and {kernel_size**dims} taps, kernel_size {kernel_size}"
        )
    if taps not in ("nearest", "linear"):
        raise ValueError(f"reassemble: taps must be 'nearest' or 'linear', got {taps!r}")
    if border not in ("zeros", "reflect", "replicate"):
        raise ValueError(f"reassemble: border must be 'zeros', 'reflect' or 'replicate', got {border!r}")
