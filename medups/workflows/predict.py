"""Segment scans and write each mask on the grid of its scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from medups.bundle.model import Model, load_bundle
from medups.data.cases import case_name
from medups.data.volumes.find import find_scans, is_nifti, is_other_format, scans_by_key
from medups.data.volumes.masks import write_mask
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from medups.inference.segment import require_usable, segment
from medups.inference.slices import OnFraction
from medups.io.files import require_writable, user_path
from medups.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Job:
    """One scan and the mask to write for it."""

    scan: Path
    mask: Path


def predict(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    cases: Sequence[str] | str | None = None,
    skip_existing: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment a scan or a folder of scans.

    Args:
        model: a bundle folder.
        source: a scan or a folder of scans.
        output: a .nii or .nii.gz file for one scan, otherwise a folder for files ``<scan>.nii.gz``.
        cases: names, or ``train``, ``val`` or ``test`` for the bundle's split; None for all scans.
        skip_existing: keep existing masks.
        device: by default a GPU if there is one.

    Returns:
        The paths of the masks, including existing ones.

    Raises:
        InputError: an invalid bundle, scan, name or output, before anything is written.
    """
    progress = progress or SilentProgress()
    chosen = available_device(device)
    bundle = load_bundle(user_path(model), chosen)
    names = _names(bundle, cases, str(model))
    jobs = list_jobs(user_path(source), user_path(output), names)
    existing = [job for job in jobs if skip_existing and job.mask.exists()]
    pending = [job for job in jobs if job not in existing]
    if existing:
        progress.log(f"kept {len(existing)} existing mask{'s' if len(existing) > 1 else ''}")
    check_jobs(bundle, progress.track(pending, "checking scans", len(pending)))
    for job in progress.track(pending, "scans", len(pending)):
        predict_scan(bundle, job, chosen, progress.share(job.scan.name))
        progress.log(str(job.mask))
    return [job.mask for job in jobs]


def list_jobs(source: Path, output: Path, cases: Sequence[str] | None = None) -> list[Job]:
    """List the masks to write, without writing them.

    Args:
        source, output: see :func:`predict`.
        cases: only scans of these names, as in a data split; None for all.

    Raises:
        InputError: no scans, an unknown name, or an output that cannot be written.
    """
    if cases is None:
        scans = find_scans(source)
    else:
        by_key = scans_by_key(source)
        unknown = [name for name in cases if name not in by_key]
        if unknown:
            raise InputError(
                f"{source}: no scans for the cases {', '.join(unknown)}; the folder has {', '.join(by_key)}"
            )
        scans = [by_key[name] for name in cases]
    if is_nifti(output):
        if len(scans) > 1:
            raise InputError(f"{output}: {len(scans)} scans need a folder as output, not one file")
        require_writable(output.parent)
        if output.is_dir():
            raise InputError(f"{output}: is a folder; pass a file name")
        jobs = [Job(scans[0], output)]
    elif is_other_format(output):
        raise InputError(f"{output}: masks are written as .nii or .nii.gz; pass such a file name, or a folder")
    else:
        require_writable(output)
        jobs = [Job(scan, output / f"{case_name(scan)}.nii.gz") for scan in scans]
    names = [job.mask.name for job in jobs]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InputError(f"{source}: several scans would be written to {', '.join(sorted(repeated))}; rename them")
    for job in jobs:
        if job.mask.resolve() == job.scan.resolve():
            raise InputError(f"{job.scan}: the mask would overwrite the scan; choose another output")
    return jobs


def check_jobs(model: Model, jobs: Iterable[Job]) -> None:
    """Read every scan before segmenting any. Raises InputError that lists all scans that ``model`` cannot segment."""
    problems = []
    for job in jobs:
        try:
            require_usable(model, read_scan(job.scan))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))


def predict_scan(
    model: Model, job: Job, device: torch.device | str = "cpu", progress: OnFraction | None = None
) -> None:
    """Segment one scan: the mask (uint8) with the scan's grid and affine, and its organ names beside it."""
    mask = segment(model, read_scan(job.scan), device, progress)
    write_mask(job.mask, mask.data, mask.affine, model.labels)


def available_device(device: torch.device | str | None) -> torch.device:
    """``device``, or by default a GPU if there is one. Raises InputError if it is not available."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen).cpu()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: not available here ({str(error).splitlines()[0]})") from error
    return chosen


def _names(bundle: Model, cases: Sequence[str] | str | None, model: str) -> list[str] | None:
    if cases is None:
        return None
    if isinstance(cases, str):
        names = list(bundle.split[cases] if cases in bundle.split else cases.split(","))
    else:
        names = list(cases)
    if not names:
        raise InputError(f"--cases {cases}: {model} lists no such cases; pass case names, or omit it for all scans")
    return names


class Predictor:
    """Entry point of ``python -m monai.bundle run``: ``Predictor(bundle)(input, output)``."""

    def __init__(self, bundle: str, device: str = "cpu") -> None:
        self.bundle, self.device = bundle, device

    def __call__(self, source: str, output: str) -> None:
        predict(self.bundle, source, output, device=self.device)
