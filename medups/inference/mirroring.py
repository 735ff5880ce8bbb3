"""Test-time augmentation: the mean over mirrored images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations

from torch import Tensor

Network = Callable[[Tensor], Tensor]


def mirrored(network: Network) -> Network:
    """A network whose logits are the mean over all mirrored versions of its input [B, C, *size].

    A slice is seen in 4 and a volume in 8 versions, so it takes as many times longer. A network that was not trained on
    mirrored images may confuse left and right.
    """

    def mean_logits(image: Tensor) -> Tensor:
        axes = range(2, image.ndim)
        total: Tensor | None = None
        subsets = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
        for flipped in subsets:
            logits = network(image.flip(flipped)).flip(flipped) if flipped else network(image)
            total = logits if total is None else total + logits
        assert total is not None
        return total / len(subsets)

    return mean_logits
