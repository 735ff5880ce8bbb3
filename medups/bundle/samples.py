"""What a run trains on: its cases' samples, and what is done to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import Compose, RandomizableTrait

from medups.bundle.records import Display
from medups.config import build, number
from medups.data.cache import CachedCase, StoredCase, prepared
from medups.data.sampling import Patches, Slices, Source
from medups.errors import InputError


@dataclass(frozen=True)
class Transforms:
    """Preprocessing, what the network needs, and augmentation.

    once: of slices, all before the first random one, built of ``specs``: it is done once and kept in the cache.
    each: what is done to every sample.
    """

    specs: Sequence[Mapping[str, Any]]
    once: Compose
    each: Compose


def sample_transforms(config: Mapping[str, Any]) -> Transforms:
    """Raises InputError where the configuration names what there is not."""
    sampling, augmentation = config["network"]["sampling"], config["training"]["augmentation"]
    if sampling not in augmentation:
        raise InputError(f"network.sampling must be one of {', '.join(augmentation)}, got {sampling!r}")
    specs = [*config["preprocessing"], *config["network"]["sample_transforms"], *augmentation[sampling]]
    transforms = [build(spec) for spec in specs]
    _require_pointwise(Compose(transforms[: len(config["preprocessing"])]))
    once = 0
    if sampling == "slices":
        random = (number for number, one in enumerate(transforms) if isinstance(one, RandomizableTrait))
        once = next(random, len(transforms))
    return Transforms(specs[:once], Compose(transforms[:once]), Compose(transforms[once:]))


def _require_pointwise(preprocessing: Compose) -> None:
    """Training sees slices or patches, prediction whole volumes: a mean or a percentile would not be the same."""
    volume = 1500 * torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)) - 1000
    wholes: Any = preprocessing({"image": volume.clone()})
    parts: Any = preprocessing({"image": volume[:, :2, :4, :4].clone()})
    expected, found = torch.as_tensor(wholes["image"])[:, :2, :4, :4], torch.as_tensor(parts["image"])
    if expected.shape != found.shape or not torch.allclose(expected, found):
        raise InputError(
            "preprocessing: what becomes of a voxel must not depend on others, since training sees parts of what "
            "prediction sees; name fixed numbers, as ScaleIntensityRanged does"
        )


def open_source(
    config: Mapping[str, Any], transforms: Transforms, cases: Sequence[CachedCase], display: Display
) -> Source:
    """Samples of ``cases``, ready for ``transforms.each``."""
    network = config["network"]
    if network["sampling"] == "patches":
        return Patches(cases, network["inferer"]["roi_size"], int(network["patches_per_case"]))
    ready: Sequence[StoredCase] = cases
    if transforms.specs:
        done = (prepared(case, transforms.once, transforms.specs) for case in cases)
        ready = list(display.track(done, "preparing slices", len(cases)))
    return Slices(ready, number(config["training"]["balanced"], "training.balanced", 0, 1))
