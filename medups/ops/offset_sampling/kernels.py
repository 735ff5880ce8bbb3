"""Triton kernels for weighted sums of a map's pixels, and both gradients.

Arguments, all contiguous:

    x [N, channels, pixels], cells and shares [N, CORNERS, places], grad and out [N, channels, places]
    start [N, pixels + 1], order [N, corners * places]: order[start[i]:start[i + 1]] are the readers of pixel ``i``,
    where reader ``corner * places + p`` is a corner of place ``p``

Cells are the pixels read, shares their weights, and places the output pixels.
Sums are accumulated in ACC. A program works on BLOCK_C channels of BLOCK_X pixels or places.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _tile(channels, pixels, BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr):
    """The sample, channels (a column) and pixels that a program works on."""
    blocks_x, blocks_c = tl.cdiv(pixels, BLOCK_X), tl.cdiv(channels, BLOCK_C)
    program = tl.program_id(0)
    n = (program // (blocks_x * blocks_c)).to(tl.int64)
    c = (program // blocks_x % blocks_c * BLOCK_C + tl.arange(0, BLOCK_C)).to(tl.int64)[:, None]
    return n, c, (program % blocks_x * BLOCK_X + tl.arange(0, BLOCK_X)).to(tl.int64)


@triton.jit
def gather_sum(
    x, cells, shares, out, channels, pixels, places, CORNERS: tl.constexpr, ACC: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    n, c, p = _tile(channels, places, BLOCK_C, BLOCK_X)
    mask, channel_mask = p < places, c < channels
    total = tl.zeros((BLOCK_C, BLOCK_X), ACC)
    for corner in tl.static_range(CORNERS):
        entry = (n * CORNERS + corner) * places + p
        cell = tl.load(cells + entry, mask=mask, other=0)
        share = tl.load(shares + entry, mask=mask, other=0.0).to(ACC)
        value = tl.load(x + (n * channels + c) * pixels + cell[None, :], mask=channel_mask & mask[None, :], other=0.0)
        total += value.to(ACC) * share[None, :]
    write = out + (n * channels + c) * places + p[None, :]
    tl.store(write, total.to(out.dtype.element_ty), mask=channel_mask & mask[None, :])


@triton.jit
def share_gradient(
    x, cells, grad, out, channels, pixels, places, CORNERS: tl.constexpr, ACC: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    n, lanes, p = _tile(BLOCK_C, places, BLOCK_C, BLOCK_X)  # all channels, block by block
    mask = p < places
    for corner in tl.static_range(CORNERS):
        entry = (n * CORNERS + corner) * places + p
        cell = tl.load(cells + entry, mask=mask, other=0)
        total = tl.zeros((BLOCK_X,), ACC)
        for first in range(0, channels, BLOCK_C):
            c = first + lanes
            inside = (c < channels) & mask[None, :]
            value = tl.load(x + (n * channels + c) * pixels + cell[None, :], mask=inside, other=0.0).to(ACC)
            slope = tl.load(grad + (n * channels + c) * places + p[None, :], mask=inside, other=0.0).to(ACC)
            total += tl.sum(value * slope, 0)
        tl.store(out + entry, total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def source_gradient(
    grad, start, order, shares, out, channels, pixels, places, corners, ACC: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """Each pixel sums the gradients of its readers, which are sorted by pixel."""
    n, c, i = _tile(channels, pixels, BLOCK_C, BLOCK_X)
    mask, channel_mask = i < pixels, c < channels
    first = tl.load(start + n * (pixels + 1) + i, mask=mask, other=0)
    count = tl.load(start + n * (pixels + 1) + i + 1, mask=mask, other=0) - first
    total = tl.zeros((BLOCK_C, BLOCK_X), ACC)
    for number in range(tl.max(count, 0)):
        valid = mask & (number < count)
        reader = tl.load(order + n * corners * places + first + number, mask=valid, other=0)
        share = tl.load(shares + n * corners * places + reader, mask=valid, other=0.0).to(ACC)
        read = grad + (n * channels + c) * places + (reader % places)[None, :]
        total += tl.load(read, mask=channel_mask & valid[None, :], other=0.0).to(ACC) * share[None, :]
    write = out + (n * channels + c) * pixels + i[None, :]
    tl.store(write, total.to(out.dtype.element_ty), mask=channel_mask & mask[None, :])
