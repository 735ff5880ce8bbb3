"""Pictures with objects or panoptic segments, read from COCO's annotation files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from numpy.typing import NDArray

from medups.bundle.model import Model
from medups.data.cases import Case
from medups.data.dataset import Dataset
from medups.data.labels import MAX_ID, LabelSet
from medups.data.pictures.coco_samples import ObjectPictures, objects_of_case, segments_of_case
from medups.errors import InputError
from medups.inference.segment import objects_of
from medups.instantiate import instantiate
from medups.progress import Progress
from medups.report.objects import objects_array
from medups.settings.schema import Settings
from medups.tasks import PanopticTask
from medups.workflows.kinds.samples import Samples

Read = Callable[[Case], tuple[NDArray[np.uint8], Any]]


def open_samples(settings: Settings, dataset: Dataset, target: LabelSet, progress: Progress) -> Samples:
    """Read the first picture and its annotation; the others are read when they are needed."""
    del progress
    check_classes(settings, dataset, target)
    panoptic = settings.task == PanopticTask.name
    read: Read = segments_of_case if panoptic else objects_of_case
    steps = [
        *settings.network.sample_transforms,
        *settings.training.augmentation[settings.network.sampling],
        *settings.preprocessing,
    ]
    read(dataset.train[0])
    source = ObjectPictures(dataset.train, target, panoptic)
    transform = Compose([instantiate(step) for step in steps])
    return Samples(source, transform, dataset.train, dataset.val, partial(_predict, read), partial(_picture, read))


def check_classes(settings: Settings, dataset: Dataset, target: LabelSet) -> None:
    """Raise InputError if the task cannot learn the classes."""
    if dataset.labels != target:
        raise InputError(
            f"label_set={target.name} must be the dataset's own for pictures, data.source_labels={dataset.labels.name}"
        )
    if max(target.organs, default=0) > MAX_ID or not target.things:
        raise InputError(f"label_set={target.name}: objects need classes with ids up to {MAX_ID}")
    if bool(target.stuff) != (settings.task == PanopticTask.name):
        raise InputError(
            f"label_set={target.name}: task=panoptic needs classes that are listed as stuff, task=detection none; it "
            f"has {len(target.stuff)}"
        )


def _predict(read: Read, model: Model, case: Case, device: torch.device) -> tuple[Any, Any]:
    picture, reference = read(case)
    return objects_of(model, picture, device), reference


def _picture(read: Read, model: Model, case: Case, pred: Any, reference: Any, title: str) -> NDArray[np.uint8]:
    picture, _ = read(case)
    return objects_array(picture, {"prediction": pred, "label": reference}, model.labels, title)
