"""Pictures with a class for each pixel, read from their files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from numpy.typing import NDArray

from medups.bundle.model import Model
from medups.data.cases import Case
from medups.data.dataset import Dataset
from medups.data.labels import MAX_ID, LabelSet
from medups.data.pictures.sampling import Pictures, read_case
from medups.errors import InputError
from medups.inference.segment import channels_of
from medups.instantiate import instantiate
from medups.progress import Progress
from medups.report.pictures import side_by_side
from medups.settings.schema import Settings
from medups.workflows.kinds.samples import Samples


def open_samples(settings: Settings, dataset: Dataset, target: LabelSet, progress: Progress) -> Samples:
    """Read the first picture and mask; the others are read when they are needed."""
    del progress
    if max(target.organs, default=0) > MAX_ID or not target.organs or len(target.channels) > MAX_ID:
        raise InputError(f"label_set={target.name}: pictures need 1 to {MAX_ID} classes with ids up to {MAX_ID}")
    if dataset.labels != target:
        raise InputError(
            f"label_set={target.name} must be the dataset's own for pictures, data.source_labels={dataset.labels.name}"
        )
    steps = [*settings.network.sample_transforms, *settings.training.augmentation["pictures"], *settings.preprocessing]
    read_case(dataset.train[0], target)

    def predict(model: Model, case: Case, device: torch.device) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        picture, reference = read_case(case, target)
        return channels_of(model, picture, device), reference

    transform = Compose([instantiate(step) for step in steps])
    return Samples(Pictures(dataset.train, target), transform, dataset.train, dataset.val, predict, _picture)


def _picture(model: Model, case: Case, pred: Any, reference: Any, title: str) -> NDArray[np.uint8]:
    picture, _ = read_case(case, model.labels)
    return side_by_side(picture, {"prediction": pred, "label": reference}, model.labels, title)
