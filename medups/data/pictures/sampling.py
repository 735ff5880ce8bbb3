"""Pictures as training samples, read from their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.cases import Case
from medups.data.labels import LabelSet
from medups.data.pictures.classes import to_channels
from medups.data.pictures.files import read_mask, read_picture
from medups.data.sampling import EpochOrder
from medups.errors import InputError


def read_case(case: Case, labels: LabelSet) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The picture [H, W, 3] and the channel of each pixel [H, W]. Raises InputError; see :func:`read_mask`."""
    if case.label is None:
        raise InputError(f"{case.image}: case {case.name} has no mask to train on or to score with")
    picture = read_picture(case.image)
    return picture, to_channels(read_mask(case.label, labels, picture.shape[:2]), labels)


class Pictures:
    """Every picture once per epoch, in a new order each time."""

    def __init__(self, cases: Sequence[Case], labels: LabelSet) -> None:
        self.cases, self.labels = cases, labels
        self._order = EpochOrder(len(cases))

    def __len__(self) -> int:
        return len(self.cases)

    def read(self, n: int, seed: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """The picture [H, W, 3] and its channels [H, W] of sample ``n``."""
        return read_case(self._case(n, seed), self.labels)

    def describe(self, n: int, seed: int) -> str:
        return f"picture {self._case(n, seed).name}"

    def _case(self, n: int, seed: int) -> Case:
        return self.cases[self._order.place(n, seed)]
