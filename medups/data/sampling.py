"""The endless sequence of training samples: sample n depends on the seed and on n, on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from monai.transforms import Compose, Randomizable
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medups.data.cache import CachedCase, StoredCase, as_sample
from medups.data.transforms import without_history

Arrays = tuple[NDArray[Any], NDArray[np.uint8]]


class Source(Protocol):
    """Reads sample ``n``: image and label arrays of their own, without a channel axis."""

    def __len__(self) -> int:
        """Samples of one epoch."""

    def read(self, n: int, seed: int) -> Arrays: ...

    def describe(self, n: int, seed: int) -> str:
        """Where sample ``n`` comes from, in words."""


class SampleError(RuntimeError):
    """A sample could not be made of what was read."""


class Slices:
    """Every slice once an epoch, in an order of the epoch's own.

    Args:
        cases: volumes whose first axis counts slices.
        balanced: share of samples that are taken instead from the slices of one organ, every organ as often.
    """

    def __init__(self, cases: Sequence[StoredCase], balanced: float = 0) -> None:
        self.cases = cases
        self.balanced = balanced
        self.index = [(number, row) for number, case in enumerate(cases) for row in range(case.image.shape[0])]
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None
        self._of_organ = self._slices_of_organs() if balanced else []

    def __len__(self) -> int:
        return len(self.index)

    def read(self, n: int, seed: int) -> Arrays:
        number, row = self._place(n, seed)
        return self.cases[number].image[row], self.cases[number].label[row]

    def describe(self, n: int, seed: int) -> str:
        number, row = self._place(n, seed)
        return f"case {self.cases[number].name} slice {row}"

    def _place(self, n: int, seed: int) -> tuple[int, int]:
        return self._balanced(n, seed) or self._in_order(n, seed)

    def _slices_of_organs(self) -> list[list[tuple[int, int]]]:
        slices: dict[int, list[tuple[int, int]]] = {}
        for number, row in self.index:
            for organ in np.flatnonzero(np.bincount(self.cases[number].label[row].ravel())):
                slices.setdefault(int(organ), []).append((number, row))
        slices.pop(0, None)  # the background
        return list(slices.values())

    def _balanced(self, n: int, seed: int) -> tuple[int, int] | None:
        """The slice of an organ, or None where sample ``n`` is one of those in order."""
        if not self._of_organ:
            return None
        rng = generator(seed, n, stream=5)
        if rng.random() >= self.balanced:
            return None
        slices = self._of_organ[rng.integers(len(self._of_organ))]
        return slices[rng.integers(len(slices))]

    def _in_order(self, n: int, seed: int) -> tuple[int, int]:
        epoch, position = divmod(n, len(self.index))
        if self._order is None or self._order[0] != (seed, epoch):
            self._order = (seed, epoch), generator(seed, epoch, stream=1).permutation(len(self.index))
        return self.index[self._order[1][position]]


class Patches:
    """Boxes of ``size`` voxels, half of them around a voxel of an organ; beyond the volume its border repeats."""

    def __init__(self, cases: Sequence[CachedCase], size: Sequence[int], patches_per_case: int = 4) -> None:
        self.cases = cases
        self.size = np.array(size)
        self.patches_per_case = patches_per_case

    def __len__(self) -> int:
        return len(self.cases) * self.patches_per_case

    def read(self, n: int, seed: int) -> Arrays:
        case, start = self._place(n, seed)
        box = tuple(slice(a, a + s) for a, s in zip(start, self.size, strict=True))
        missing = [(0, max(0, s - n)) for s, n in zip(self.size, case.image.shape, strict=True)]
        return np.pad(case.image[box], missing, mode="edge"), np.pad(case.label[box], missing, mode="edge")

    def describe(self, n: int, seed: int) -> str:
        case, start = self._place(n, seed)
        return f"case {case.name} from voxel {tuple(start.tolist())}"

    def _place(self, n: int, seed: int) -> tuple[CachedCase, NDArray[np.int64]]:
        rng = generator(seed, n, stream=2)
        case = self.cases[int(rng.integers(len(self.cases)))]
        shape = np.array(case.image.shape)
        if rng.random() < 0.5:
            centre = case.foreground[rng.integers(len(case.foreground))]
        else:
            centre = rng.integers(shape)
        return case, np.clip(centre - self.size // 2, 0, np.maximum(0, shape - self.size))


class SampleStream(Dataset[dict[str, Tensor]]):
    """``stream[n]``: image float32 [1, *size] and label int64 [1, *size] of sample ``n``.

    Args:
        source: where arrays come from.
        transform: MONAI dict transforms, reseeded for each sample.
        seed: of the run.
        length: number of samples of the whole run.

    Raises:
        SampleError: when a sample is asked for and cannot be made; it says which and why.
    """

    def __init__(self, source: Source, transform: Compose, seed: int, length: int) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        return self.length

    def describe(self, n: int) -> str:
        """Where sample ``n`` comes from, in words."""
        return self.source.describe(n, self.seed)

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        try:
            return self._sample(n)
        except Exception as error:
            raise SampleError(f"sample {n}, {self.describe(n)}: {type(error).__name__}: {error}") from error

    def _sample(self, n: int) -> dict[str, Tensor]:
        image, label = self.source.read(n, self.seed)
        _draw_from(self.transform, np.random.RandomState(np.random.PCG64([self.seed, n, 3])))
        with without_history():
            sample: Any = self.transform(as_sample(image, label))
        return {
            "image": torch.as_tensor(sample["image"]).to(torch.float32).contiguous(),
            "label": torch.as_tensor(sample["label"]).to(torch.int64).contiguous(),
        }


def _draw_from(transform: object, numbers: np.random.RandomState) -> None:
    """Have a transform and all within it draw from the same numbers: seeding each anew takes longer than a flip."""
    if isinstance(transform, Compose):
        transform.R = numbers
        for inner in transform.transforms:
            _draw_from(inner, numbers)
    elif isinstance(transform, Randomizable):
        transform.set_random_state(state=numbers)


def generator(seed: int, n: int, stream: int) -> Generator:
    """Random numbers that belong to ``n``; ``stream`` keeps different uses apart."""
    return np.random.default_rng([seed, n, stream])
