"""The voxel classifier on the cases of a training run: what intensity and position alone can achieve."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from medups.bundle.model import Model
from medups.data.cases import Case
from medups.data.dataset import open_dataset
from medups.data.volumes import Grid
from medups.data.volumes.masks import case_files, write_masks
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from medups.inference.segment import require_usable
from medups.io.files import require_writable
from medups.progress import Progress, SilentProgress
from medups.settings.schema import Settings
from medups.training.voxel_classifier import VoxelClassifier
from medups.workflows.kinds.volume import require_volumes
from medups.workflows.setup import output_folder, set_up_run


def baseline(settings: Settings, progress: Progress | None = None) -> Path:
    """Fit the baseline to the training cases and write its masks of the test cases to ``settings.output``."""
    require_volumes(settings, "baseline")
    progress = progress or SilentProgress()
    folder = output_folder(settings)
    require_writable(folder)
    dataset = open_dataset(settings.data)
    if not dataset.test:
        raise InputError("data.split.test: no test cases to segment; list at least one")
    run = set_up_run(settings, dataset, progress)
    _check_scans(run.model, progress.track(dataset.test, "checking scans", len(dataset.test)))
    classes = max(run.model.labels.organs) + 1
    classifier = VoxelClassifier.fit(run.samples.train, classes, settings.seed)
    for case in progress.track(dataset.test, "baseline masks", len(dataset.test)):
        scan = read_scan(case.image)
        grid = Grid(scan.data.shape, scan.affine)
        ids = grid.to_file(classifier.predict(grid.to_canonical(scan.data)))
        write_masks(case_files(folder, case.name, ("nifti",)), ids, scan, run.model.labels)
    return folder


def _check_scans(model: Model, cases: Iterable[Case]) -> None:
    """Raise InputError that lists all scans that cannot be segmented, before any is."""
    problems = []
    for case in cases:
        try:
            require_usable(model, read_scan(case.image))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))
