"""Paired central differences between the neighborhood of a key and one query pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F

from medups.ops.backend import Backend, choose_backend
from medups.ops.padding import pad_replicate
from medups.ops.paired_differences.reference import paired_difference_reference
from medups.ops.resizing import resize_linear


def paired_difference_conv(
    key: Tensor,
    query: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    backend: Backend | None = None,
) -> Tensor:
    """``out[p] = sum_t weight[t] (key[tap t of p] - query[p]) + bias``, replicate border.

    Args:
        key: [B, C, *in]. If it has the query's size, tap ``t`` is ``dilation * t`` pixels away. If it is smaller,
            tap ``t`` is ``t`` key pixels away, and keys are interpolated at ``(p + 1/2) * in / out - 1/2 + t``.
        query: [B, C, *out].
        weight: [M, C // groups, *kernel], odd kernel.
        bias: [M] or None.
        dilation: in query pixels, one number or one per axis; used only if key has the query's size.
        groups: groups of the convolution.
        backend: see :mod:`medups.ops.backend`; None for the fastest.

    Returns:
        [B, M, *out].

    Raises:
        ValueError: mismatched shapes, or an even kernel.

    A convolution is linear, so the difference is a convolution of the keys minus a 1x1 convolution of the
    query with the summed kernel. It also commutes with linear interpolation, so a smaller key is convolved on
    its own grid. Both identities are exact. Source: ReSFU, arXiv 2407.02283.
    """
    _check(key, query, weight)
    steps = [dilation] * (key.ndim - 2) if isinstance(dilation, int) else list(dilation)
    if choose_backend(backend, key, query, in_graphs="torch") == "reference":
        return paired_difference_reference(key, query, weight, bias, steps, groups)
    around = key_neighborhood(key, query, weight, bias, steps, groups, backend)
    center = weight.sum(tuple(range(2, weight.ndim)), keepdim=True)
    return around - _conv(key)(query, center, groups=groups)


def key_neighborhood(
    key: Tensor,
    query: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: Sequence[int],
    groups: int,
    backend: Backend | None = None,
) -> Tensor:
    """The key term of :func:`paired_difference_conv`, a convolution evaluated at each query pixel."""
    _check(key, query, weight)
    kernel = weight.shape[2:]
    if key.shape == query.shape:
        margins = [step * (n // 2) for step, n in zip(dilation, kernel, strict=True)]
        return _conv(key)(pad_replicate(key, margins), weight, bias, dilation=list(dilation), groups=groups)
    around = _conv(key)(pad_replicate(key, [n // 2 + 1 for n in kernel]), weight, bias, groups=groups)
    return resize_linear(around, query.shape[2:], margin=1, backend=backend)


def _conv(x: Tensor) -> Callable[..., Tensor]:
    return F.conv2d if x.ndim == 4 else F.conv3d


def _check(key: Tensor, query: Tensor, weight: Tensor) -> None:
    if key.ndim not in (4, 5) or key.shape[:2] != query.shape[:2]:
        raise ValueError(f"paired_difference_conv: key {tuple(key.shape)} and query {tuple(query.shape)} do not fit")
    if any(n % 2 == 0 for n in weight.shape[2:]):
        raise ValueError(f"paired_difference_conv: kernel must be odd, got {tuple(weight.shape[2:])}")
