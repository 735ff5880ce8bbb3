"""Check a dataset of pictures before training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.cases import Case
from medups.data.dataset import open_dataset
from medups.data.labels import LabelSet, label_set
from medups.data.parallel import in_parallel
from medups.data.pictures import IGNORED
from medups.data.pictures.coco_samples import objects_of_case, segments_of_case
from medups.data.pictures.sampling import read_case
from medups.errors import InputError
from medups.io.files import require_writable, user_path, write_bytes, write_csv
from medups.progress import Progress, SilentProgress
from medups.report.objects import objects_png
from medups.report.pictures import side_by_side_png
from medups.settings.schema import Settings
from medups.tasks import DetectionTask, PanopticTask, SemanticImageTask
from medups.workflows.kinds.objects import check_classes

_DRAWN = 40


@dataclass(frozen=True)
class _Survey:
    """One picture.

    Args:
        size: height and width.
        values: what the table says about each column.
        draw: the drawing with a title, a PNG file.
    """

    size: tuple[int, ...]
    values: Sequence[object]
    draw: Callable[[str], bytes]


def prepare_pictures(settings: Settings, output: str | Path, progress: Progress | None = None) -> Path:
    """Read every picture and its annotation, and report every problem in one pass; if there are none, write
    ``cases.csv`` (the share of each class in each picture, or the number of its objects) and drawings of the first
    pictures.

    Raises:
        InputError: the dataset has problems, which the log lists; nothing is written.
    """
    progress = progress or SilentProgress()
    folder = user_path(output)
    require_writable(folder)
    problems: list[str] = []
    dataset, labels = open_dataset(settings.data, problems), label_set(settings.label_set)
    if settings.task != SemanticImageTask.name:
        check_classes(settings, dataset, labels)
    read, columns = _SURVEYS[settings.task], _columns(settings.task, labels)
    parts = {name: part for part, names in dataset.names.items() for name in names}
    cases: Sequence[Case] = [*dataset.train, *dataset.val, *dataset.test]
    rows: list[list[object]] = [["case", "part", "height", "width", *columns]]
    drawn, drawings = {case.name for case in cases[:_DRAWN]}, dict[str, bytes]()

    def survey(case: Case) -> list[object] | str:
        try:
            found = read(case, labels)
        except InputError as error:
            return str(error)
        if case.name in drawn:
            drawings[case.name] = found.draw(f"{case.name}, {parts[case.name]}")
        return [case.name, parts[case.name], *found.size, *found.values]

    for found in progress.track(in_parallel(survey, cases), "surveying", len(cases)):
        if isinstance(found, str):
            problems.append(found)
        else:
            rows.append(found)
    for message in [*problems, *dataset.notes]:
        progress.log(message)
    if problems:
        raise InputError(f"{len(problems)} problems in {len(cases)} pictures, listed above")
    for name, drawing in drawings.items():
        write_bytes(folder / "overlays" / f"{name}.png", drawing)
    write_csv(folder / "cases.csv", rows)
    return folder


def _columns(task: str, labels: LabelSet) -> list[str]:
    if task == SemanticImageTask.name:
        return [*labels.channels.values(), "ignored"]
    return list(labels.organs.values())


def _classes(case: Case, labels: LabelSet) -> _Survey:
    """The share of each class."""
    picture, channels = read_case(case, labels)
    counts = np.bincount(channels.ravel(), minlength=256) / channels.size
    shares = [*counts[: len(labels.channels)], counts[IGNORED]]
    return _Survey(
        channels.shape,
        [f"{share:.4f}" for share in shares],
        lambda title: side_by_side_png(picture, {"label": channels}, labels, title),
    )


def _objects(case: Case, labels: LabelSet) -> _Survey:
    picture, objects = objects_of_case(case)
    return _counted(picture, objects, objects.ids.tolist(), labels)


def _segments(case: Case, labels: LabelSet) -> _Survey:
    picture, segments = segments_of_case(case)
    return _counted(picture, segments, list(segments.ids.values()), labels)


def _counted(picture: NDArray[np.uint8], found: Any, ids: list[int], labels: LabelSet) -> _Survey:
    """The number of objects or segments of each class."""
    counts = [ids.count(number) for number in labels.organs]
    return _Survey(picture.shape[:2], counts, lambda title: objects_png(picture, {"label": found}, labels, title))


_SURVEYS: Mapping[str, Callable[[Case, LabelSet], _Survey]] = {
    SemanticImageTask.name: _classes,
    DetectionTask.name: _objects,
    PanopticTask.name: _segments,
}
