"""An ensemble of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Returns the logarithm of its members' mean class probabilities as logits.

    Args:
        members: networks that map the same images to the same classes.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        total: Tensor | None = None
        for member in self.members:  # one at a time, so only two maps are in memory
            log_probabilities = member(image).log_softmax(1)
            total = log_probabilities if total is None else torch.logaddexp(total, log_probabilities)
        assert total is not None
        return total - math.log(len(self.members))
