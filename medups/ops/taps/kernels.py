"""Triton kernels for sums over taps.

A program computes BLOCK_X pixels of one row and BLOCK_C channels of one group. For each axis a table gives the pixel
that a tap reads (-1: none). Weights are computed once for all channels: the softmax of the logits, distributed for
linear taps over the CORNERS pixels around a tap (4 or 8; 1 if taps are pixels). Sums are accumulated in ACC.

Arguments, with z, y, x for the three axes from slow to fast:

    b, g, c, t         sample, group, channel within its group, tap
    n_z n_y n_x        size of the map that programs iterate over; m_z m_y m_x size of the second map (spread_taps)
    s? w? v? o?        strides of source, weights, values and out along axis ? of b, g, c (or t), z, y, x
    index_z ...        tables [pixel taps, n]: the pixel that a tap of a pixel reads
    part_z ...         [n]: interpolation weight of the upper of the two pixels around a linear tap
    start tap pixel    the transposed tables: entries start[i]:start[i + 1] of tap and pixel read pixel i
    KZ KY KX           taps with a weight along each axis; TZ TY TX pixel taps, one more per linear axis
    log_sums           logarithm of each softmax's denominator [B, G, z, y, x]
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _tile(channels, groups, n_z, n_y, n_x, BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr):
    """The sample, group, row, channels (a column) and pixels of the row that a program works on."""
    blocks_x, blocks_c = tl.cdiv(n_x, BLOCK_X), tl.cdiv(channels, BLOCK_C)
    rest = tl.program_id(0)
    x = rest % blocks_x * BLOCK_X + tl.arange(0, BLOCK_X)
    rest = rest // blocks_x
    c = (rest % blocks_c * BLOCK_C + tl.arange(0, BLOCK_C)).to(tl.int64)[:, None]
    rest = rest // blocks_c
    y = rest % n_y
    rest = rest // n_y
    z = rest % n_z
    rest = rest // n_z
    return (rest // groups).to(tl.int64), (rest % groups).to(tl.int64), z.to(tl.int64), y.to(tl.int64), c, x


@triton.jit
def _log_sum(weights, step, mask, BLOCK: tl.constexpr, TAPS: tl.constexpr, ACC: tl.constexpr):
    """Logarithm of the sum over taps of exp(logit)."""
    maximum = tl.full((BLOCK,), float("-inf"), ACC)
    pointer = weights
    for _ in range(TAPS):
        maximum = tl.maximum(maximum, tl.load(pointer, mask=mask, other=0.0).to(ACC))
        pointer += step
    total = tl.zeros((BLOCK,), ACC)
    pointer = weights
    for _ in range(TAPS):
        total += tl.exp(tl.load(pointer, mask=mask, other=0.0).to(ACC) - maximum)
        pointer += step
    return maximum + tl.log(total)


@triton.jit
def _share(fz, fy, fx, corner: tl.constexpr):
    """Interpolation weight of one pixel around a tap; bits 0, 1, 2 of ``corner`` select the upper pixel in x, y, z."""
    return (fz if corner & 4 else 1 - fz) * (fy if corner & 2 else 1 - fy) * (fx if corner & 1 else 1 - fx)


@triton.jit
def _weight(
    weights, step, log_sum, jz, jy, jx, fz, fy, fx, mask,
    KZ: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, CORNERS: tl.constexpr, SOFTMAX: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """The weight of pixel tap (jz, jy, jx)."""
    total = fx * 0
    step = tl.cast(step, tl.int64)
    for corner in tl.static_range(CORNERS):
        kz, ky, kx = jz - (corner >> 2), jy - ((corner >> 1) & 1), jx - (corner & 1)
        valid = mask & (kz >= 0) & (kz < KZ) & (ky >= 0) & (ky < KY) & (kx >= 0) & (kx < KX)
        value = tl.load(weights + ((kz * KY + ky) * KX + kx) * step, mask=valid, other=0.0).to(ACC)
        if SOFTMAX:
            value = tl.exp(value - log_sum)
        if CORNERS > 1:
            value *= _share(fz, fy, fx, corner)
        total += tl.where(valid, value, 0.0)
    return total


@triton.jit
def weighted_sum(
    source, weights, out, log_sums, index_z, index_y, index_x, part_z, part_y, part_x,
    channels, groups, n_z, n_y, n_x,
    sb, sg, sc, sz, sy, sx, wb, wg, wt, wz, wy, wx, ob, og, oc, oz, oy, ox,
    KZ: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, CORNERS: tl.constexpr, SOFTMAX: tl.constexpr,
    ACC: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """out[p] = sum over taps of weight[tap, p] source[index[tap, p]]."""
    b, g, z, y, c, x = _tile(channels, groups, n_z, n_y, n_x, BLOCK_C, BLOCK_X)
    mask, channel_mask = x < n_x, c < channels
    wide_x = x.to(tl.int64)
    weights += b * wb + g * wg + z * wz + y * wy + wide_x * wx
    source += b * sb + g * sg + c * sc
    fz, fy = tl.load(part_z + z), tl.load(part_y + y)
    fx = tl.load(part_x + x, mask=mask, other=0.0)
    log_sum = fx
    if SOFTMAX:
        log_sum = _log_sum(weights, wt, mask, BLOCK_X, KZ * KY * KX, ACC)
        if tl.min(c) == 0:  # once for all channels
            tl.store(log_sums + (((b * groups + g) * n_z + z) * n_y + y) * n_x + wide_x, log_sum, mask=mask)
    total = tl.zeros((BLOCK_C, BLOCK_X), ACC)
    for jz in range(KZ + (CORNERS > 4)):
        at_z = tl.load(index_z + jz * n_z + z).to(tl.int64)
        for jy in range(KY + (CORNERS > 1)):
            at_y = tl.load(index_y + jy * n_y + y).to(tl.int64)
            for jx in range(KX + (CORNERS > 1)):
                at_x = tl.load(index_x + jx * n_x + x, mask=mask, other=-1).to(tl.int64)
                valid = (at_z >= 0) & (at_y >= 0) & (at_x >= 0)
                weight = _weight(weights, wt, log_sum, jz, jy, jx, fz, fy, fx, mask, KZ, KY, KX, CORNERS, SOFTMAX, ACC)
                read = source + at_z * sz + at_y * sy + (at_x * sx)[None, :]
                total += tl.load(read, mask=channel_mask & valid[None, :], other=0.0).to(ACC) * weight[None, :]
    write = out + b * ob + g * og + c * oc + z * oz + y * oy + (wide_x * ox)[None, :]
    tl.store(write, total.to(out.dtype.element_ty), mask=channel_mask & mask[None, :])


@triton.jit
def dot_products(
    source, values, out, index_z, index_y, index_x, channels, groups, n_z, n_y, n_x,
    sb, sg, sc, sz, sy, sx, vb, vg, vc, vz, vy, vx,
    TZ: tl.constexpr, TY: tl.constexpr, TX: tl.constexpr, ACC: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """out[tap, p] = sum over channels of values[p] source[index[tap, p]], tap by tap."""
    b, g, z, y, lanes, x = _tile(BLOCK_C, groups, n_z, n_y, n_x, BLOCK_C, BLOCK_X)  # all channels, block by block
    mask = x < n_x
    wide_x = x.to(tl.int64)
    source += b * sb + g * sg
    values += b * vb + g * vg + z * vz + y * vy + (wide_x * vx)[None, :]
    plane = tl.cast(n_z, tl.int64) * n_y * n_x
    write = out + (b * groups + g) * (TZ * TY * TX) * plane + (z * n_y + y) * n_x + wide_x
    for jz in range(TZ):
        at_z = tl.load(index_z + jz * n_z + z).to(tl.int64)
        for jy in range(TY):
            at_y = tl.load(index_y + jy * n_y + y).to(tl.int64)
            for jx in range(TX):
                at_x = tl.load(index_x + jx * n_x + x, mask=mask, other=-1).to(tl.int64)
                valid = ((at_z >= 0) & (at_y >= 0) & (at_x >= 0))[None, :]
                read = source + at_z * sz + at_y * sy + (at_x * sx)[None, :]
                total = tl.zeros((BLOCK_X,), ACC)
                for first in range(0, channels, BLOCK_C):
                    c = first + lanes
                    inside = valid & (c < channels)
                    tap_value = tl.load(read + c * sc, mask=inside, other=0.0).to(ACC)
                    total += tl.sum(tap_value * tl.load(values + c * vc, mask=inside, other=0.0).to(ACC), 0)
                tl.store(write, total, mask=mask)
                write += plane


@triton.jit
def weight_gradient(
    dots, weights, log_sums, out, part_z, part_y, part_x, groups, n_z, n_y, n_x, wb, wg, wt, wz, wy, wx,
    KZ: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, CORNERS: tl.constexpr, SOFTMAX: tl.constexpr,
    ACC: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """From the dot product of each pixel tap to the gradient of each weight or logit."""
    b, g, z, y, _, x = _tile(1, groups, n_z, n_y, n_x, 1, BLOCK_X)
    mask = x < n_x
    wide_x = x.to(tl.int64)
    plane = tl.cast(n_z, tl.int64) * n_y * n_x
    row = (z * n_y + y) * n_x + wide_x
    TZ: tl.constexpr = KZ + (CORNERS > 4)
    TY: tl.constexpr = KY + (CORNERS > 1)
    TX: tl.constexpr = KX + (CORNERS > 1)
    dots += (b * groups + g) * (TZ * TY * TX) * plane + row
    out += (b * groups + g) * (KZ * KY * KX) * plane + row
    weights += b * wb + g * wg + z * wz + y * wy + wide_x * wx
    fz, fy = tl.load(part_z + z), tl.load(part_y + y)
    fx = tl.load(part_x + x, mask=mask, other=0.0)
    log_sum = fx
    if SOFTMAX:
        log_sum = tl.load(log_sums + (b * groups + g) * plane + row, mask=mask, other=0.0)
    wt = tl.cast(wt, tl.int64)
    mean = fx * 0  # softmax-weighted mean of the gradients
    for turn in tl.static_range(1 if SOFTMAX else 0, -1, -1):
        for number in range(KZ * KY * KX):
            kz, ky, kx = number // (KY * KX), number // KX % KY, number % KX
            gradient = fx * 0
            for corner in tl.static_range(CORNERS):
                tap = ((kz + (corner >> 2)) * TY + ky + ((corner >> 1) & 1)) * TX + kx + (corner & 1)
                value = tl.load(dots + tap * plane, mask=mask, other=0.0)
                gradient += value * _share(fz, fy, fx, corner) if CORNERS > 1 else value
            if SOFTMAX:
                share = tl.exp(tl.load(weights + number * wt, mask=mask, other=0.0).to(ACC) - log_sum)
                if turn == 1:
                    mean += share * gradient
                gradient = share * (gradient - mean)
            if turn == 0:
                tl.store(out + number * plane, gradient.to(out.dtype.element_ty), mask=mask)


@triton.jit
def spread_taps(
    values, weights, log_sums, out, start_z, start_y, start_x, tap_z, tap_y, tap_x, pixel_z, pixel_y, pixel_x,
    part_z, part_y, part_x, channels, groups, n_z, n_y, n_x, m_z, m_y, m_x,
    vb, vg, vc, vz, vy, vx, wb, wg, wt, wz, wy, wx,
    KZ: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, CORNERS: tl.constexpr, SOFTMAX: tl.constexpr,
    ACC: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """The transpose of :func:`weighted_sum`: each input pixel sums over its readers, so no two programs write to it."""
    b, g, z, y, c, x = _tile(channels, groups, n_z, n_y, n_x, BLOCK_C, BLOCK_X)
    mask, channel_mask = x < n_x, c < channels
    values += b * vb + g * vg + c * vc
    weights += b * wb + g * wg
    log_sums += (b * groups + g) * m_z * m_y * m_x
    first = tl.load(start_x + x, mask=mask, other=0)
    count = tl.load(start_x + x + 1, mask=mask, other=0) - first
    max_count = tl.max(count, 0)
    total = tl.zeros((BLOCK_C, BLOCK_X), ACC)
    for entry_z in range(tl.load(start_z + z), tl.load(start_z + z + 1)):
        jz, pz = tl.load(tap_z + entry_z), tl.load(pixel_z + entry_z).to(tl.int64)
        fz = tl.load(part_z + pz)
        for entry_y in range(tl.load(start_y + y), tl.load(start_y + y + 1)):
            jy, py = tl.load(tap_y + entry_y), tl.load(pixel_y + entry_y).to(tl.int64)
            fy = tl.load(part_y + py)
            for number in range(max_count):
                valid = mask & (number < count)
                jx = tl.load(tap_x + first + number, mask=valid, other=0)
                px = tl.load(pixel_x + first + number, mask=valid, other=0).to(tl.int64)
                fx = tl.load(part_x + px)
                log_sum = fx
                if SOFTMAX:
                    log_sum = tl.load(log_sums + (pz * m_y + py) * m_x + px, mask=valid, other=0.0)
                weight = _weight(
                    weights + pz * wz + py * wy + px * wx, wt, log_sum, jz, jy, jx, fz, fy, fx, valid,
                    KZ, KY, KX, CORNERS, SOFTMAX, ACC,
                )  # fmt: skip
                read = values + pz * vz + py * vy + (px * vx)[None, :]
                total += tl.load(read, mask=channel_mask & valid[None, :], other=0.0).to(ACC) * weight[None, :]
    row = ((b * groups + g) * channels + c) * n_z * n_y * n_x + (z * n_y + y) * n_x
    tl.store(out + row + x[None, :], total.to(out.dtype.element_ty), mask=channel_mask & mask[None, :])
