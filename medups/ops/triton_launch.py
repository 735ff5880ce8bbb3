"""Launching Triton kernels, and dividing their work among programs."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from medups.ops.dtypes import wide_dtype

_BLOCK = 64
_PER_THREAD = 16


class Blocks:
    """Blocks of ``c`` channels and ``x`` pixels, their number, and the warps that work on each.

    With more elements per thread the compiler spills registers on sm_80 and sm_90, and half as many blocks fit on a
    multiprocessor.
    """

    def __init__(self, channels: int, pixels: int) -> None:
        self.c, self.x = (min(_BLOCK, triton.next_power_of_2(n)) for n in (channels, pixels))
        self.along_x = triton.cdiv(pixels, self.x)
        self.warps = max(1, min(8, self.c * self.x // (32 * _PER_THREAD)))
        self.programs = self.along_x * triton.cdiv(channels, self.c)


def launch(kernel: Any, programs: int, first: Tensor, *arguments: Any, **options: Any) -> None:
    """Run a kernel in ``programs`` programs on the device of its first tensor, even if that is not the current one."""
    with torch.cuda.device_of(first):
        kernel[(programs,)](first, *arguments, **options)


def sum_type(x: Tensor) -> Any:
    """The Triton dtype in which ``x`` is accumulated."""
    return {torch.float32: tl.float32, torch.float64: tl.float64}[wide_dtype(x.dtype)]
