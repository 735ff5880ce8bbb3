"""The endless sequence of training samples: sample n depends only on the seed and n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from monai.transforms import Compose, Randomizable
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medups.data.cache.cases import CachedCase, StoredCase
from medups.data.transforms import without_transform_record

Arrays = tuple[NDArray[Any], ...]


class SampleFormat(Protocol):
    """How a task converts samples; see :mod:`medups.tasks`."""

    def transform_input(self, arrays: Arrays) -> dict[str, Tensor]:
        """Convert a sample's arrays to the dict that transforms take."""

    def training_input(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Convert a transformed sample to tensors."""


class SampleSource(Protocol):
    """Reads sample ``n`` as new arrays: the image, and what belongs to it."""

    def __len__(self) -> int:
        """The number of samples in one epoch."""

    def read(self, n: int, seed: int) -> Arrays: ...

    def describe(self, n: int, seed: int) -> str:
        """The origin of sample ``n``, for messages."""


class SampleError(RuntimeError):
    """A sample could not be read or transformed."""


class EpochOrder:
    """Every one of ``length`` items once per epoch, in a new order each time."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def place(self, n: int, seed: int) -> int:
        """The item of sample ``n``."""
        epoch, position = divmod(n, self.length)
        if self._order is None or self._order[0] != (seed, epoch):
            self._order = (seed, epoch), generator(seed, epoch, stream=1).permutation(self.length)
        return int(self._order[1][position])


class Slices:
    """Every slice once per epoch, in a new order each time.

    Args:
        cases: volumes whose first axis indexes slices.
        balanced: share of samples drawn instead by organ, each organ equally often: a random slice that shows it.
    """

    def __init__(self, cases: Sequence[StoredCase], balanced: float = 0) -> None:
        self.cases = cases
        self.balanced = balanced
        self.index = [(number, row) for number, case in enumerate(cases) for row in range(case.image.shape[0])]
        self._order = EpochOrder(len(self.index))
        self._organ_slices = self._slices_by_organ() if balanced else []

    def __len__(self) -> int:
        return len(self.index)

    def read(self, n: int, seed: int) -> Arrays:
        number, row = self._place(n, seed)
        return self.cases[number].image[row], self.cases[number].label[row]

    def describe(self, n: int, seed: int) -> str:
        number, row = self._place(n, seed)
        return f"case {self.cases[number].name} slice {row}"

    def _place(self, n: int, seed: int) -> tuple[int, int]:
        return self._balanced(n, seed) or self.index[self._order.place(n, seed)]

    def _slices_by_organ(self) -> list[list[tuple[int, int]]]:
        slices: dict[int, list[tuple[int, int]]] = {}
        for number, row in self.index:
            for organ in np.flatnonzero(np.bincount(self.cases[number].label[row].ravel())):
                slices.setdefault(int(organ), []).append((number, row))
        slices.pop(0, None)  # the background
        return list(slices.values())

    def _balanced(self, n: int, seed: int) -> tuple[int, int] | None:
        """A slice that shows a random organ, or None if sample ``n`` follows the epoch's order."""
        if not self._organ_slices:
            return None
        rng = generator(seed, n, stream=5)
        if rng.random() >= self.balanced:
            return None
        slices = self._organ_slices[rng.integers(len(self._organ_slices))]
        return slices[rng.integers(len(slices))]


class Patches:
    """Boxes of ``size`` voxels, half of them centered on an organ voxel; smaller volumes repeat their border."""

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
        if rng.random() < 0.5 and len(case.foreground):
            center = case.foreground[rng.integers(len(case.foreground))]
        else:
            center = rng.integers(shape)
        return case, np.clip(center - self.size // 2, 0, np.maximum(0, shape - self.size))


class SampleStream(Dataset[dict[str, Any]]):
    """``stream[n]``: the tensors of sample ``n``, as ``form`` defines them.

    Args:
        source: reads the arrays of a sample.
        transform: MONAI dict transforms, reseeded for each sample.
        form: the task's conversion between arrays, transforms and batches.
        seed: the seed of the run.
        length: number of samples in the whole run.

    Raises:
        SampleError: on indexing, if a sample cannot be read or transformed; names the sample and the cause.
    """

    def __init__(self, source: SampleSource, transform: Compose, form: SampleFormat, seed: int, length: int) -> None:
        self.source = source
        self.transform = transform
        self.form = form
        self.seed = seed
        self.length = length

    def __len__(self) -> int:
        return self.length

    def describe(self, n: int) -> str:
        """The origin of sample ``n``, for messages."""
        return self.source.describe(n, self.seed)

    def __getitem__(self, n: int) -> dict[str, Any]:
        try:
            return self._sample(n)
        except Exception as error:
            raise SampleError(f"sample {n}, {self.describe(n)}: {type(error).__name__}: {error}") from error

    def _sample(self, n: int) -> dict[str, Any]:
        arrays = self.source.read(n, self.seed)
        _share_random_state(self.transform, np.random.RandomState(np.random.PCG64([self.seed, n, 3])))
        with without_transform_record():
            sample: Any = self.transform(self.form.transform_input(arrays))
        return self.form.training_input(sample)


def _share_random_state(transform: object, state: np.random.RandomState) -> None:
    """Make a transform and all nested ones draw from ``state``; seeding each one takes longer than a flip."""
    if isinstance(transform, Compose):
        transform.R = state
        for inner in transform.transforms:
            _share_random_state(inner, state)
    elif isinstance(transform, Randomizable):
        transform.set_random_state(state=state)


def generator(seed: int, n: int, stream: int) -> Generator:
    """Random numbers for index ``n``; ``stream`` separates different uses."""
    return np.random.default_rng([seed, n, stream])
