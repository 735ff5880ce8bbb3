"""The command that checks a dataset and fills the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medups.bundle.samples import open_source, sample_transforms
from medups.cli.display import Terminal
from medups.cli.settings import compose
from medups.data.cache import read_cases
from medups.data.dataset import open_dataset
from medups.data.labels import label_set
from medups.data.parallel import in_parallel
from medups.data.survey import CaseFacts, Surveyed, remap, repeated, survey_case
from medups.errors import InputError
from medups.files import require_writable
from medups.report.dataset import print_statistics, write_cases
from medups.report.overlay import overlay_png, write_overlays


def prepare(overrides: Sequence[str], output: str) -> None:
    """Survey every case and say all that is wrong; where nothing is, write statistics, a picture of each case, and the
    cache."""
    config, folder = compose(overrides), Path(output)
    require_writable(folder)
    data, spacing = config["data"], config["network"]["spacing"]
    problems: list[str] = []
    dataset, target = open_dataset(data, problems), label_set(str(config["label_set"]))
    dataset.require_organs(target)
    transforms = sample_transforms(config)
    parts = {name: part for part, names in dataset.names.items() for name in names}
    cases = [*dataset.train, *dataset.val, *dataset.test]
    trained = [*dataset.train, *dataset.val]

    facts: list[CaseFacts] = []
    pictures: dict[str, bytes] = {}
    with Terminal().live() as terminal:
        surveyed = in_parallel(lambda case: survey_case(case, dataset.labels, target), cases)
        for found in terminal.track(surveyed, "surveying", len(cases)):
            facts.append(found.facts)
            if found.image is not None and not problems and not found.facts.problems:
                title = f"case {found.facts.name}, {parts[found.facts.name]}"
                pictures[found.facts.name] = _picture(found, found.image, target.organs, title)
        problems += [problem for one in facts for problem in one.problems] + list(repeated(facts))
        doubts = [f"{one.name}: {doubt}" for one in facts for doubt in one.doubts]
        for message in [*problems, *remap(facts, dataset.labels), *doubts]:
            terminal.log(message)
        if problems:
            raise InputError(f"{len(problems)} problems in {len(cases)} cases, listed above")
        stored = read_cases(trained, data["cache"], dataset.labels, target, spacing)
        read = list(terminal.track(stored, "writing the cache", len(trained)))
        open_source(config, transforms, read[: len(dataset.train)], terminal)
        write_overlays(folder, pictures)
        write_cases(folder / "cases.csv", facts, parts)
        print_statistics(facts, terminal.console)
        terminal.log(f"{folder / 'cases.csv'}, pictures in {folder / 'overlays'}; cache in {data['cache']}")


def _picture(found: Surveyed, image: NDArray[np.float32], organs: Mapping[int, str], title: str) -> bytes:
    first, second, third = found.facts.spacing_mm or (1.0, 1.0, 1.0)
    none = np.zeros(image.shape, np.uint8)
    masks = {"no label": none} if found.label is None else {"label": found.label}
    return overlay_png(image, masks, organs, (first, second, third), title)
