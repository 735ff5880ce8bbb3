"""Check a dataset of pictures before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medups.data.cases import Case
from medups.data.dataset import open_dataset
from medups.data.labels import label_set
from medups.data.parallel import in_parallel
from medups.data.pictures import IGNORED
from medups.data.pictures.sampling import read_case
from medups.errors import InputError
from medups.io.files import require_writable, user_path, write_bytes, write_csv
from medups.progress import Progress, SilentProgress
from medups.report.pictures import side_by_side_png
from medups.settings.schema import Settings

_DRAWN = 40


def prepare_pictures(settings: Settings, output: str | Path, progress: Progress | None = None) -> Path:
    """Read every picture and mask, and report every problem in one pass; if there are none, write ``cases.csv`` (the
    share of each class in each picture) and drawings of the first pictures.

    Raises:
        InputError: the dataset has problems, which the log lists; nothing is written.
    """
    progress = progress or SilentProgress()
    folder = user_path(output)
    require_writable(folder)
    problems: list[str] = []
    dataset, labels = open_dataset(settings.data, problems), label_set(settings.label_set)
    parts = {name: part for part, names in dataset.names.items() for name in names}
    cases: Sequence[Case] = [*dataset.train, *dataset.val, *dataset.test]
    rows: list[list[object]] = [["case", "part", "height", "width", *labels.channels.values(), "ignored"]]
    drawn, drawings = {case.name for case in cases[:_DRAWN]}, dict[str, bytes]()

    def survey(case: Case) -> list[object] | str:
        try:
            picture, channels = read_case(case, labels)
        except InputError as error:
            return str(error)
        counts = np.bincount(channels.ravel(), minlength=256) / channels.size
        if case.name in drawn:
            title = f"{case.name}, {parts[case.name]}"
            drawings[case.name] = side_by_side_png(picture, {"label": channels}, labels, title)
        shares = [*counts[: len(labels.channels)], counts[IGNORED]]
        return [case.name, parts[case.name], *channels.shape, *(f"{share:.4f}" for share in shares)]

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
