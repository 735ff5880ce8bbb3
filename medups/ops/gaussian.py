"""A small Gaussian blur that is its own transpose."""

from __future__ import annotations

from math import exp
from typing import Any

import torch
from torch import Tensor

from medups.ops.dtypes import wide_dtype

_SIDE = exp(-0.5) / (1 + 2 * exp(-0.5))  # sigma 1, one pixel away


def gaussian_blur(x: Tensor) -> Tensor:
    """3 taps of a Gaussian of sigma 1 along each spatial axis of ``x`` [B, C, *size], replicate border."""
    wide = x.to(wide_dtype(x.dtype))
    # a compiler takes the gradient by itself, and of this one mistakes the sizes where they vary
    blurred: Tensor = _Blur.forward(None, wide) if torch.compiler.is_compiling() else _Blur.apply(wide)
    return blurred.to(x.dtype)


class _Blur(torch.autograd.Function):
    """Along each axis a symmetric matrix, the border's included, so that the gradient is blurred likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        for axis in range(2, x.ndim):
            last = x.shape[axis] - 1
            out = x * (1 - 2 * _SIDE)
            for begin, end in ((1, 0), (0, 1)):
                out.narrow(axis, begin, last).add_(x.narrow(axis, end, last), alpha=_SIDE)
            for border in (0, last):
                out.narrow(axis, border, 1).add_(x.narrow(axis, border, 1), alpha=_SIDE)
            x = out
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _Blur.apply(grad)
