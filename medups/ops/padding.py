"""Padding and cropping at both ends of each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def pad_replicate(x: Tensor, margins: Sequence[int]) -> Tensor:
    """``x`` [B, C, *in] with ``margins`` copies of its border pixels at both ends of each axis."""
    if not x.is_cuda:
        return F.pad(x, [margin for margin in reversed(margins) for _ in range(2)], mode="replicate")
    for axis, margin in enumerate(margins):  # the gradient of torch's padding is nondeterministic on CUDA
        shape = list(x.shape)
        shape[2 + axis] = margin
        first, last = (x.narrow(2 + axis, end, 1).expand(shape) for end in (0, x.shape[2 + axis] - 1))
        x = torch.cat([first, x, last], 2 + axis)
    return x


def pad_border(x: Tensor, margins: Sequence[int], border: str) -> Tensor:
    """``x`` with ``margins`` more pixels at both ends of each axis, by ``zeros``, ``reflect`` or ``replicate``."""
    if not max(margins):
        return x
    both_ends = [margin for margin in reversed(margins) for _ in range(2)]
    return F.pad(x, both_ends, mode="constant" if border == "zeros" else border)


def crop(x: Tensor, margins: Sequence[int]) -> Tensor:
    """``x`` without ``margins`` pixels at both ends of each spatial axis."""
    inner = _Crop.apply(x, tuple(margins))
    assert isinstance(inner, Tensor)
    return inner


class _Crop(torch.autograd.Function):
    """Crop of all axes in one step; with successive slices, torch's backward pass fills a full map for each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, margins: tuple[int, ...]) -> Tensor:
        ctx.margins = margins
        for axis, margin in enumerate(margins):
            x = x.narrow(2 + axis, margin, x.shape[2 + axis] - 2 * margin)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return F.pad(grad, [margin for margin in reversed(ctx.margins) for _ in range(2)]), None
