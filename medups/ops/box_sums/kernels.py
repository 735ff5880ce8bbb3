"""Triton kernel of sums over a window.

Arguments: ``x`` and ``out`` point to contiguous maps of ``elements`` elements; ``pixels`` is the length of the axis and
``step`` its stride; the window reaches ``radius`` pixels to both sides. Sums are accumulated in ACC.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def window_sum(x, out, pixels, step, elements, radius, ACC: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    place = at // step % pixels
    total = tl.zeros((BLOCK,), ACC)
    for shift in range(-radius, radius + 1):
        here = (at < elements) & (place + shift >= 0) & (place + shift < pixels)
        total += tl.load(x + at + shift * step, mask=here, other=0.0).to(ACC)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=at < elements)
