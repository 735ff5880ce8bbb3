"""Window sums along one axis, with one cached read per pixel of the window."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from medups.ops.box_sums import kernels
from medups.ops.registration import operator
from medups.ops.triton_launch import launch, sum_type

_BLOCK = 1024


@operator("medups::gpu_window_sum", mutates_args=())
def window_sum(x: Tensor, axis: int, radius: int) -> Tensor:
    """Sum over ``2 * radius + 1`` pixels along ``axis``, zero-padded; a symmetric operator."""
    x = x.contiguous()
    out = torch.empty_like(x)
    if x.numel():
        launch(
            kernels.window_sum, triton.cdiv(x.numel(), _BLOCK),
            x, out, x.shape[axis], x.stride(axis), x.numel(), radius, ACC=sum_type(x), BLOCK=_BLOCK,
        )  # fmt: skip
    return out


@window_sum.register_fake
def _(x: Tensor, axis: int, radius: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)
