"""How work is shared out among the programs of a kernel."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from medups.ops.dtypes import wide_dtype

_BLOCK = 64


class Blocks:
    """Blocks of ``c`` channels and ``x`` pixels, and how many there are."""

    def __init__(self, channels: int, pixels: int) -> None:
        self.c, self.x = (min(_BLOCK, triton.next_power_of_2(n)) for n in (channels, pixels))
        self.along_x = triton.cdiv(pixels, self.x)
        self.programs = self.along_x * triton.cdiv(channels, self.c)


def sum_type(x: Tensor) -> Any:
    """Triton's name of the type in which sums over ``x`` are taken."""
    return {torch.float32: tl.float32, torch.float64: tl.float64}[wide_dtype(x.dtype)]
