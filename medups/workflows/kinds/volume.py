"""Volumes: cached in canonical form, sampled by slices or patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medups.bundle.model import Model
from medups.data.cache import CachedCase, read_cases
from medups.data.cases import Case
from medups.data.dataset import Dataset
from medups.data.labels import LabelSet
from medups.data.sampling import SampleSource
from medups.errors import InputError
from medups.inference.segment import segment_canonical
from medups.progress import Progress
from medups.report.overlay import overlay_array
from medups.settings.schema import Settings
from medups.tasks import VolumeTask
from medups.training.samples import Transforms, open_patches, open_slices, sample_transforms
from medups.workflows.kinds.samples import Samples


def open_samples(settings: Settings, dataset: Dataset, target: LabelSet, progress: Progress) -> Samples:
    """Read the cases into the cache. Raises InputError for cases that cannot be read."""
    transforms = transforms_of(settings)

    def read(part: str, cases: Sequence[Case]) -> list[CachedCase]:
        stored = read_cases(cases, settings.data.cache, dataset.labels, target, settings.network.spacing)
        return list(progress.track(stored, f"reading {part} cases", len(cases)))

    train, val = read("train", dataset.train), read("val", dataset.val)
    source = source_of(settings, transforms, train, progress)
    return Samples(source, transforms.per_sample, train, val, _predict, _picture)


def require_volumes(settings: Settings, what: str) -> None:
    """Raise InputError if ``what`` would read pictures."""
    if settings.task != VolumeTask.name:
        raise InputError(f"{what}: works on scans only; task={settings.task} is for pictures")


def transforms_of(settings: Settings) -> Transforms:
    """The transforms that the settings describe."""
    sampling = settings.network.sampling
    additional = [*settings.network.sample_transforms, *settings.training.augmentation[sampling]]
    return sample_transforms(settings.preprocessing, additional, sampling)


def source_of(
    settings: Settings, transforms: Transforms, cases: Sequence[CachedCase], progress: Progress
) -> SampleSource:
    """The slices or patches that the settings select."""
    network = settings.network
    if network.sampling == "patches":
        return open_patches(cases, network.inferer["roi_size"], network.patches_per_case)
    return open_slices(cases, transforms, settings.training.balanced, progress)


def _predict(model: Model, case: CachedCase, device: torch.device) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return segment_canonical(model, case.image[:].astype(np.float32), device), case.label[:]


def _picture(model: Model, case: CachedCase, pred: Any, label: Any, title: str) -> NDArray[np.uint8]:
    spacing = case.spacing[0], case.spacing[1], case.spacing[2]
    masks = {"prediction": pred, "label": label}
    image = case.image[:].astype(np.float32)
    return overlay_array(image, masks, model.labels.organs, spacing, title, model.display_window)
