"""Linear sampling by Triton kernels; in its gradient, no two programs write to the same pixel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medups.ops.offset_sampling import kernels
from medups.ops.registration import operator
from medups.ops.triton_launch import Blocks, launch, sum_type


@operator("medups::gpu_sample", mutates_args=())
def sample(x: Tensor, cells: Tensor, shares: Tensor) -> Tensor:
    """``out[n, c, p] = sum over corners of shares[n, corner, p] x[n, c, cells[n, corner, p]]``.

    x [N, C, pixels], cells and shares [N, corners, places] -> [N, C, places] in the dtype of ``x``.
    """
    out = x.new_empty(*x.shape[:2], cells.shape[2])
    if out.numel():
        (count, channels, pixels), places = x.shape, cells.shape[2]
        blocks = Blocks(channels, places)
        launch(
            kernels.gather_sum, count * blocks.programs,
            x.contiguous(), cells.contiguous(), shares.contiguous(), out, channels, pixels, places,
            CORNERS=cells.shape[1], ACC=sum_type(x), BLOCK_C=blocks.c, BLOCK_X=blocks.x, num_warps=blocks.warps,
        )  # fmt: skip
    return out


@operator("medups::gpu_sample_backward", mutates_args=())
def _sample_backward(
    grad: Tensor, x: Tensor, cells: Tensor, shares: Tensor, to_x: bool, to_shares: bool
) -> tuple[Tensor, Tensor]:
    (count, channels, pixels), (corners, places) = x.shape, cells.shape[1:]
    x_grad = x.new_zeros(x.shape if to_x else (0,))
    shares_grad = shares.new_zeros(shares.shape if to_shares else (0,))
    grad, cells = grad.contiguous(), cells.contiguous()
    acc = sum_type(x)
    if to_shares and grad.numel():
        blocks = Blocks(channels, places)
        launch(
            kernels.share_gradient, count * blocks.along_x,
            x.contiguous(), cells, grad, shares_grad, channels, pixels, places,
            CORNERS=corners, ACC=acc, BLOCK_C=blocks.c, BLOCK_X=blocks.x, num_warps=blocks.warps,
        )  # fmt: skip
    if to_x and grad.numel():
        ordered, order = torch.sort(cells.flatten(1), dim=1, stable=True)
        ends = torch.arange(pixels + 1, device=x.device).expand(count, -1).contiguous()
        start = torch.searchsorted(ordered, ends)
        blocks = Blocks(channels, pixels)
        launch(
            kernels.source_gradient, count * blocks.programs,
            grad, start, order, shares.contiguous(), x_grad, channels, pixels, places, corners,
            ACC=acc, BLOCK_C=blocks.c, BLOCK_X=blocks.x, num_warps=blocks.warps,
        )  # fmt: skip
    return x_grad, shares_grad


@sample.register_fake
def _(x: Tensor, cells: Tensor, shares: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:2], cells.shape[2])


@_sample_backward.register_fake
def _(grad: Tensor, x: Tensor, cells: Tensor, shares: Tensor, to_x: bool, to_shares: bool) -> Any:
    return x.new_empty(x.shape if to_x else (0,)), shares.new_empty(shares.shape if to_shares else (0,))


def _save(ctx: Any, inputs: Any, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> Any:
    to_x, _, to_shares = ctx.needs_input_grad
    x_grad, shares_grad = _sample_backward(grad, *ctx.saved_tensors, to_x, to_shares)
    return x_grad if to_x else None, None, shares_grad if to_shares else None


sample.register_autograd(_differentiate, setup_context=_save)
