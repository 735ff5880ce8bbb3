"""The voxel classifier on the cases of a training run: what intensity and position alone can achieve."""

from __future__ import annotations

from pathlib import Path

from medups.data.dataset import open_dataset
from medups.data.volumes import Grid
from medups.data.volumes.masks import write_mask
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from medups.io.files import require_writable
from medups.progress import Progress, SilentProgress
from medups.settings.schema import Settings
from medups.training.voxel_classifier import VoxelClassifier
from medups.workflows.predict import Job, check_jobs
from medups.workflows.setup import output_folder, set_up_run


def baseline(settings: Settings, progress: Progress | None = None) -> Path:
    """Fit the baseline to the training cases and write its masks of the test cases to ``settings.output``."""
    progress = progress or SilentProgress()
    folder = output_folder(settings)
    require_writable(folder)
    dataset = open_dataset(settings.data)
    if not dataset.test:
        raise InputError("data.split.test: no test cases to segment; list at least one")
    jobs = [Job(case.image, folder / f"{case.name}.nii.gz") for case in dataset.test]
    run = set_up_run(settings, dataset, progress)
    check_jobs(run.model, progress.track(jobs, "checking scans", len(jobs)))
    classes = max(run.model.labels.organs) + 1
    classifier = VoxelClassifier.fit(run.train, classes, settings.seed)
    for job in progress.track(jobs, "baseline masks", len(jobs)):
        scan = read_scan(job.scan)
        grid = Grid(scan.data.shape, scan.affine)
        ids = grid.to_file(classifier.predict(grid.to_canonical(scan.data)))
        write_mask(job.mask, ids, scan.affine, run.model.labels)
    return folder
