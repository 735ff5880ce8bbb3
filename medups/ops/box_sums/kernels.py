"""Triton kernel for window sums.

Arguments: ``x`` and ``out`` point to contiguous maps of ``elements`` elements; ``pixels`` is the length of the axis and
``step`` its stride; the window extends ``radius`` pixels to both sides. Sums are accumulated in ACC.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def window_sum(x, out, pixels, step, elements, radius, ACC: tl.constexpr, BLOCK: tl.constexpr):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pixel = index // step % pixels
    total = tl.zeros((BLOCK,), ACC)
    for shift in range(-radius, radius + 1):
        inside = (index < elements) & (pixel + shift >= 0) & (pixel + shift < pixels)
        total += tl.load(x + index + shift * step, mask=inside, other=0.0).to(ACC)
    tl.store(out + index, total.to(out.dtype.element_ty), mask=index < elements)
