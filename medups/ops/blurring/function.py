"""A Gaussian blur whose gradient is the same blur."""

from __future__ import annotations

from math import exp
from typing import Any

import torch
from torch import Tensor

from medups.ops.backend import Backend, choose_backend
from medups.ops.blurring.reference import blur_reference
from medups.ops.dtypes import wide_dtype

_SIDE = exp(-0.5) / (1 + 2 * exp(-0.5))  # weight of a neighbor: sigma 1, one pixel away


def gaussian_blur(x: Tensor, *, backend: Backend | None = None) -> Tensor:
    """Blur ``x`` [B, C, *size] with a 3-tap Gaussian of sigma 1 along each spatial axis, replicate border.

    Args:
        backend: see :mod:`medups.ops.backend`; None for the fastest. ``triton`` has no kernel and runs as ``torch``.
    """
    if choose_backend(backend, x) == "reference":
        return blur_reference(x)
    wide = x.to(wide_dtype(x.dtype))
    # torch.compile derives the gradient itself; for this custom one it infers wrong sizes if they vary
    blurred: Tensor = _Blur.forward(None, wide) if torch.compiler.is_compiling() else _Blur.apply(wide)
    return blurred.to(x.dtype)


class _Blur(torch.autograd.Function):
    """A symmetric matrix along each axis, border included, so the backward pass is the same blur."""

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
