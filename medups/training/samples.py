"""The samples of a run: transforms, and sources of slices or patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import Compose, RandomizableTrait

from medups.data.cache import CachedCase, StoredCase, prepared
from medups.data.sampling import Patches, SampleSource, Slices
from medups.errors import InputError
from medups.instantiate import instantiate
from medups.progress import Progress

Specs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Transforms:
    """Preprocessing, the network's own transforms, and augmentation, in two stages.

    Args:
        specs: configuration of ``cached``, which identifies its cache entries.
        cached: for slices, everything before the first random transform; applied once and cached.
        per_sample: applied to every sample.
    """

    specs: Specs
    cached: Compose
    per_sample: Compose


def sample_transforms(preprocessing: Specs, additional: Specs, sampling: str) -> Transforms:
    """Build the transforms of a run.

    Args:
        preprocessing: voxel-wise intensity transforms, as in prediction.
        additional: transforms that follow: the network's own and the augmentation.
        sampling: ``slices`` or ``patches``.

    Raises:
        InputError: an unknown transform, or preprocessing whose result for a voxel depends on other voxels.
    """
    specs = [*preprocessing, *additional]
    transforms = [instantiate(spec) for spec in specs]
    _require_pointwise(Compose(transforms[: len(preprocessing)]))
    first_random = 0
    if sampling == "slices":
        random = (number for number, item in enumerate(transforms) if isinstance(item, RandomizableTrait))
        first_random = next(random, len(transforms))
    return Transforms(specs[:first_random], Compose(transforms[:first_random]), Compose(transforms[first_random:]))


def open_slices(
    cases: Sequence[CachedCase], transforms: Transforms, balanced: float, progress: Progress
) -> SampleSource:
    """Slices of ``cases`` with ``transforms.cached`` applied, ready for ``transforms.per_sample``."""
    _require_organs(cases)
    ready: Sequence[StoredCase] = cases
    if transforms.specs:
        stored = (prepared(case, transforms.cached, transforms.specs) for case in cases)
        ready = list(progress.track(stored, "preparing slices", len(cases)))
    return Slices(ready, balanced)


def open_patches(cases: Sequence[CachedCase], size: Sequence[int], patches_per_case: int) -> SampleSource:
    """Patches of ``cases``, ready for ``transforms.per_sample``."""
    _require_organs(cases)
    return Patches(cases, size, patches_per_case)


def _require_organs(cases: Sequence[CachedCase]) -> None:
    if not any(len(case.foreground) for case in cases):
        raise InputError(
            "no training case contains any organ of label_set; check label_set and data.source_labels, "
            "which medups prepare compares with the masks"
        )


def _require_pointwise(preprocessing: Compose) -> None:
    """Raise InputError if preprocessing uses statistics over voxels, which differ between patches and full volumes."""
    volume = 1500 * torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)) - 1000
    full: Any = preprocessing({"image": volume.clone()})
    crop: Any = preprocessing({"image": volume[:, :2, :4, :4].clone()})
    expected, actual = torch.as_tensor(full["image"])[:, :2, :4, :4], torch.as_tensor(crop["image"])
    if expected.shape != actual.shape or not torch.allclose(expected, actual):
        raise InputError(
            "preprocessing: the result for a voxel must not depend on other voxels, because training uses slices "
            "or patches and prediction full volumes; use a fixed range, as ScaleIntensityRanged does"
        )
