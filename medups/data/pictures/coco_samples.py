"""Pictures with objects or segments as training samples, read from their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.cases import Case
from medups.data.labels import LabelSet
from medups.data.pictures.classes import IGNORED
from medups.data.pictures.coco import read_coco, read_objects, read_segments
from medups.data.pictures.objects import Objects, Segments
from medups.data.sampling import EpochOrder
from medups.errors import InputError

Layers = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]


def objects_of_case(case: Case) -> tuple[NDArray[np.uint8], Objects]:
    """The picture [H, W, 3] and its objects. Raises InputError for files that do not fit."""
    assert case.label is not None  # the annotation file
    file = read_coco(case.label)
    if file.panoptic:
        raise InputError(f"{case.label}: task=detection needs annotations of objects, found panoptic ones")
    picture, objects = read_objects(file, case.name, case.image)
    assert picture is not None  # the case has one
    return picture, objects


def segments_of_case(case: Case) -> tuple[NDArray[np.uint8], Segments]:
    """The picture [H, W, 3] and its segments. Raises InputError for files that do not fit."""
    assert case.label is not None  # the annotation file
    file = read_coco(case.label)
    if not file.panoptic:
        raise InputError(f"{case.label}: task=panoptic needs panoptic annotations, found those of objects")
    picture, segments = read_segments(file, case.name, case.image)
    assert picture is not None  # the case has one
    return picture, segments


class ObjectPictures:
    """Every picture once per epoch, in a new order each time, with a mask for each object.

    Args:
        panoptic: the first mask has the class of each pixel of the background instead.
    """

    def __init__(self, cases: Sequence[Case], labels: LabelSet, panoptic: bool) -> None:
        self.cases, self.labels, self.panoptic = cases, labels, panoptic
        self._order = EpochOrder(len(cases))

    def __len__(self) -> int:
        return len(self.cases)

    def read(self, n: int, seed: int) -> tuple[NDArray[Any], ...]:
        """The picture [H, W, 3], masks [N, H, W], and the number of each mask's class among the things, from 1."""
        case = self.cases[self._order.place(n, seed)]
        if self.panoptic:
            return segment_layers(*segments_of_case(case), self.labels)
        return object_layers(*objects_of_case(case), self.labels)

    def describe(self, n: int, seed: int) -> str:
        return f"picture {self.cases[self._order.place(n, seed)].name}"


def object_layers(picture: NDArray[np.uint8], objects: Objects, labels: LabelSet) -> Layers:
    """See :meth:`ObjectPictures.read`; regions of many objects are left out."""
    assert objects.masks is not None  # annotations have them
    single = ~objects.crowd
    numbers = np.array([labels.things.index(number) + 1 for number in objects.ids[single].tolist()], dtype=np.int64)
    return picture, objects.masks[single].astype(np.uint8), numbers


def segment_layers(picture: NDArray[np.uint8], segments: Segments, labels: LabelSet) -> Layers:
    """See :meth:`ObjectPictures.read`.

    The first mask has the place of each pixel's class among the stuff, the number of such classes for all things, and
    255 where there is no segment.
    """
    stuff = labels.stuff_ids
    semantic = np.full(segments.numbers.shape, IGNORED, dtype=np.uint8)
    masks, numbers = [semantic], []
    for segment, category in segments.ids.items():
        mask = segments.numbers == segment
        semantic[mask] = stuff.index(category) if category in labels.stuff else len(stuff)
        if category not in labels.stuff and segment not in segments.crowd:
            masks.append(mask.astype(np.uint8))
            numbers.append(labels.things.index(category) + 1)
    return picture, np.stack(masks), np.array(numbers, dtype=np.int64)
