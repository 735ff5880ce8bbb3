"""Scans in, masks out, each on its scan's own grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medups.bundle.model import Model, load_bundle
from medups.data.canonical import Grid
from medups.data.cases import case_name
from medups.data.labels import write_mask
from medups.data.nifti import Volume
from medups.data.readers import find_scans, is_nifti, is_other_kind, read_scan, scans_by_key
from medups.data.resize import resize_image, resized_shape
from medups.errors import InputError
from medups.files import require_writable

Progress = Callable[[float], None]
_MOST_VOXELS = 2**31  # 8 GiB of intensities; a whole body at half a millimetre


@dataclass(frozen=True)
class Job:
    """One scan and the mask to be made of it."""

    scan: Path
    mask: Path


def plan(source: Path, output: Path, cases: Sequence[str] | None = None) -> list[Job]:
    """Which masks to write. Nothing is written yet.

    Args:
        source: a scan or a folder of scans.
        output: a .nii or .nii.gz file for one scan, else a folder that gets ``<scan>.nii.gz``.
        cases: only scans of these names, as in a data split; None for all.

    Raises:
        InputError: no scans, a name that is not among them, or an output that cannot be written.
    """
    if cases is None:
        scans = find_scans(source)
    else:
        by_key = scans_by_key(source)
        unknown = [name for name in cases if name not in by_key]
        if unknown:
            raise InputError(f"{source}: no scans of the cases {', '.join(unknown)}; there is {', '.join(by_key)}")
        scans = [by_key[name] for name in cases]
    if is_nifti(output):
        if len(scans) > 1:
            raise InputError(f"{output}: {len(scans)} scans need a folder as output, not one file")
        require_writable(output.parent)
        if output.is_dir():
            raise InputError(f"{output}: is a folder; give a file name")
        jobs = [Job(scans[0], output)]
    elif is_other_kind(output):
        raise InputError(f"{output}: masks are written as .nii or .nii.gz; give such a name, or a folder")
    else:
        require_writable(output)
        jobs = [Job(scan, output / f"{case_name(scan)}.nii.gz") for scan in scans]
    names = [job.mask.name for job in jobs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"{source}: several scans would be written to {', '.join(sorted(twice))}; rename them")
    for job in jobs:
        if job.mask.resolve() == job.scan.resolve():
            raise InputError(f"{job.scan}: the mask would replace the scan; give another output")
    return jobs


def check(model: Model, jobs: Iterable[Job]) -> None:
    """Read every scan once before any work. Raises InputError that lists all scans that ``model`` cannot take."""
    problems = []
    for job in jobs:
        try:
            scan = read_scan(job.scan)
            if model.spacing:
                scan.require_spacing("this model")
                _require_size(scan, model)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))


def _require_size(scan: Volume, model: Model) -> None:
    grid, image, wanted = _canonical(scan, model)
    if math.prod(wanted) > _MOST_VOXELS or any(new == 1 < old for new, old in zip(wanted, image.shape, strict=True)):
        found, asked = ([round(mm, 3) for mm in spacing] for spacing in (grid.spacing, model.spacing or ()))
        raise InputError(
            f"{scan.source}: {image.shape} voxels at {found} mm would become {wanted} at the model's {asked} mm; "
            "is the spacing in its header right?"
        )


def predict(model: Model, job: Job, device: torch.device | str = "cpu", progress: Progress | None = None) -> None:
    """Segment one scan: the mask (uint8) with the scan's grid and affine, and its organ names beside it."""
    mask = segment(model, read_scan(job.scan), device, progress)
    write_mask(job.mask, mask.data, mask.affine, model.labels)


def segment(model: Model, scan: Volume, device: torch.device | str = "cpu", progress: Progress | None = None) -> Volume:
    """The mask of a scan, on the scan's grid."""
    grid, image, wanted = _canonical(scan, model)
    labels = model.segment(resize_image(image, wanted), device, shape=image.shape, progress=progress)
    return Volume(grid.to_file(labels), scan.affine, scan.source)


def _canonical(scan: Volume, model: Model) -> tuple[Grid, NDArray[np.generic], tuple[int, ...]]:
    """A view of the scan in the model's orientation, and the shape that it has at the model's spacing."""
    grid = Grid(scan.data.shape, scan.affine, model.orientation)
    image = grid.to_canonical(scan.data)
    return grid, image, resized_shape(image.shape, grid.spacing, model.spacing)


class Predictor:
    """What ``python -m monai.bundle run`` calls: ``Predictor(bundle)(input, output)``."""

    def __init__(self, bundle: str, device: str = "cpu") -> None:
        self.device = device
        self.model = load_bundle(Path(bundle), device)

    def __call__(self, source: str, output: str) -> None:
        jobs = plan(Path(source), Path(output))
        check(self.model, jobs)
        for job in jobs:
            predict(self.model, job, self.device)
