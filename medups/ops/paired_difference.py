"""Paired central difference convolution: how the neighbourhood of a key differs from one query pixel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medups.ops.grid import CONVS, pad_replicate, resize_linear


def paired_difference_conv(
    key: Tensor,
    query: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """``out[p] = sum_t weight[t] (key[tap t of p] - query[p]) + bias``, replicate border.

    Args:
        key: [B, C, *in]. Of the query's size, tap ``t`` is ``dilation * t`` pixels away. Smaller, tap ``t``
            is ``t`` key pixels away and keys are read linearly at ``(p + 1/2) * in / out - 1/2 + t``.
        query: [B, C, *out].
        weight: [M, C // groups, *kernel], odd kernel.
        bias: [M] or None.
        dilation: in query pixels, one number or one for each axis; only where key has the query's size.
        groups: of the convolution.

    Returns:
        [B, M, *out].

    A convolution is linear, so the difference is a convolution of the keys minus a 1x1 convolution of the
    query with the summed kernel; and it commutes with linear reading, so a smaller key is convolved on its
    own grid. Both are exact. Source: ReSFU, arXiv 2407.02283.
    """
    around = key_neighbourhood(key, query, weight, bias, dilation, groups)
    centre = weight.sum(tuple(range(2, weight.ndim)), keepdim=True)
    return around - CONVS[key.ndim - 2](query, centre, groups=groups)


def key_neighbourhood(
    key: Tensor, query: Tensor, weight: Tensor, bias: Tensor | None, dilation: int | Sequence[int], groups: int
) -> Tensor:
    """The part of :func:`paired_difference_conv` that keys give: a convolution at each query pixel."""
    dims = key.ndim - 2
    size, kernel = query.shape[2:], weight.shape[2:]
    if dims not in CONVS or key.shape[:2] != query.shape[:2]:
        raise ValueError(f"paired_difference_conv: key {tuple(key.shape)} and query {tuple(query.shape)} do not fit")
    if any(k % 2 == 0 for k in kernel):
        raise ValueError(f"paired_difference_conv: kernel must be odd, got {tuple(kernel)}")
    conv = CONVS[dims]
    if key.shape == query.shape:
        steps = [dilation] * dims if isinstance(dilation, int) else list(dilation)
        pad = [step * (k // 2) for step, k in zip(steps, kernel, strict=True)]
        return conv(pad_replicate(key, pad), weight, bias, dilation=steps, groups=groups)
    around = conv(pad_replicate(key, [k // 2 + 1 for k in kernel]), weight, bias, groups=groups)
    return resize_linear(around, size, margin=1)
