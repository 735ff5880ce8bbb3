"""Check a dataset before training, and fill the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medups.data.cache import read_cases
from medups.data.dataset import Dataset, open_dataset
from medups.data.labels import LabelSet, label_set
from medups.data.parallel import in_parallel
from medups.data.survey import CaseFacts, Surveyed, remap, repeated, survey_case
from medups.errors import InputError
from medups.io.files import require_writable, user_path
from medups.progress import Progress, SilentProgress
from medups.report.dataset import write_cases
from medups.report.overlay import overlay_png, write_overlays
from medups.settings.schema import Settings
from medups.tasks import VolumeTask
from medups.workflows.kinds.volume import source_of, transforms_of
from medups.workflows.prepare_pictures import prepare_pictures


@dataclass(frozen=True)
class PrepareResult:
    """Facts about every case, and the folder with statistics and pictures."""

    facts: list[CaseFacts]
    folder: Path


def prepare(settings: Settings, output: str | Path, progress: Progress | None = None) -> PrepareResult:
    """Survey every case and report every problem in one pass; if there are none, write statistics, a picture of
    each case, and the cache.

    Raises:
        InputError: the dataset has problems, which the log lists; nothing is written.
    """
    progress = progress or SilentProgress()
    if settings.task != VolumeTask.name:
        return PrepareResult([], prepare_pictures(settings, output, progress))
    folder = user_path(output)
    require_writable(folder)
    problems: list[str] = []
    dataset, target = open_dataset(settings.data, problems), label_set(settings.label_set)
    dataset.require_organs(target)
    transforms = transforms_of(settings)
    part_by_case = {name: part for part, names in dataset.names.items() for name in names}
    cases = [*dataset.train, *dataset.val, *dataset.test]
    trained = [*dataset.train, *dataset.val]
    facts, pictures = _survey(dataset, target, part_by_case, settings, bool(problems), progress)
    problems += [problem for case in facts for problem in case.problems] + list(repeated(facts))
    doubts = [f"{case.name}: {doubt}" for case in facts for doubt in case.doubts]
    for message in [*problems, *remap(facts, dataset.labels), *doubts, *dataset.notes]:
        progress.log(message)
    if problems:
        raise InputError(f"{len(problems)} problems in {len(cases)} cases, listed above")
    stored = read_cases(trained, settings.data.cache, dataset.labels, target, settings.network.spacing)
    cached = list(progress.track(stored, "writing the cache", len(trained)))
    source_of(settings, transforms, cached[: len(dataset.train)], progress)
    write_overlays(folder, pictures)
    write_cases(folder / "cases.csv", facts, part_by_case)
    return PrepareResult(facts, folder)


def _survey(
    dataset: Dataset,
    target: LabelSet,
    part_by_case: Mapping[str, str],
    settings: Settings,
    has_problems: bool,
    progress: Progress,
) -> tuple[list[CaseFacts], dict[str, bytes]]:
    """Facts about every case, and pictures until the first problem."""
    cases = [*dataset.train, *dataset.val, *dataset.test]
    low, high = settings.display_window
    facts: list[CaseFacts] = []
    pictures: dict[str, bytes] = {}
    surveys = in_parallel(lambda case: survey_case(case, dataset.labels, target, settings.modality), cases)
    for survey in progress.track(surveys, "surveying", len(cases)):
        facts.append(survey.facts)
        has_problems = has_problems or bool(survey.facts.problems)
        if survey.image is not None and not has_problems:
            name = survey.facts.name
            title = f"case {name}, {part_by_case[name]}"
            pictures[name] = _picture(survey, survey.image, target.organs, title, (low, high))
    return facts, pictures


def _picture(
    survey: Surveyed,
    image: NDArray[np.float32],
    organs: Mapping[int, str],
    title: str,
    window: tuple[float, float],
) -> bytes:
    first, second, third = survey.facts.spacing_mm or (1.0, 1.0, 1.0)
    empty = np.zeros(image.shape, np.uint8)
    masks = {"no label": empty} if survey.label is None else {"label": survey.label}
    return overlay_png(image, masks, organs, (first, second, third), title, window)
