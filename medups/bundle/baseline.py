"""The voxel classifier on the same cases as a training run: what position and intensity alone can do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medups.bundle.predict import Job, check
from medups.bundle.records import Display
from medups.bundle.train import prepare
from medups.data.canonical import Grid
from medups.data.dataset import open_dataset
from medups.data.labels import write_mask
from medups.data.readers import read_scan
from medups.errors import InputError
from medups.files import require_writable
from medups.training.voxel_classifier import VoxelClassifier


def baseline_masks(config: Mapping[str, Any], folder: Path, display: Display) -> None:
    """Fit the baseline to the training cases of ``config`` and write its masks of the test cases to ``folder``."""
    require_writable(folder)
    dataset = open_dataset(config["data"])
    if not dataset.test:
        raise InputError("data.split.test: no test cases to make masks of; name some")
    jobs = [Job(case.image, folder / f"{case.name}.nii.gz") for case in dataset.test]
    run = prepare(config, dataset, display)
    check(run.model, display.track(jobs, "checking scans", len(jobs)))
    classes = max(run.model.labels.organs) + 1
    classifier = VoxelClassifier.fit(run.train, classes, int(config["seed"]))
    for job in display.track(jobs, "baseline masks", len(jobs)):
        scan = read_scan(job.scan)
        grid = Grid(scan.data.shape, scan.affine)
        labels = grid.to_file(classifier.predict(grid.to_canonical(scan.data)))
        write_mask(job.mask, labels, scan.affine, run.model.labels)
