"""Segment scans and write each mask on the grid of its scan."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medups.bundle.model import Model, load_bundle
from medups.data.labels import LabelSet
from medups.data.volumes import Grid, Volume
from medups.data.volumes.find import UNCERTAINTY
from medups.data.volumes.masks import nifti_mask_bytes, write_masks
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from medups.inference.postprocess import postprocess
from medups.inference.segment import Segmentation, memory_bytes, require_usable, segment
from medups.inference.slices import OnFraction
from medups.io.files import file_sha256, user_path, write_bytes
from medups.metrics.organs import organ_facts
from medups.progress import Progress, SilentProgress
from medups.report.preview import preview_png
from medups.tasks import DetectionTask, PanopticTask, SemanticImageTask
from medups.workflows.jobs import Job, list_jobs
from medups.workflows.options import PredictOptions
from medups.workflows.predict_objects import ObjectRun, SegmentRun
from medups.workflows.predict_pictures import ClassRun, PictureRun, list_pictures
from medups.workflows.prediction import PredictionRun, Written
from medups.workflows.shares import Shares

_PICTURE_RUNS: Mapping[str, type[PictureRun]] = {
    SemanticImageTask.name: ClassRun,
    DetectionTask.name: ObjectRun,
    PanopticTask.name: SegmentRun,
}
_WORTH_SAYING = 2**30  # bytes of memory


def predict(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    cases: Sequence[str] | str | None = None,
    skip_existing: bool = False,
    options: PredictOptions | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment a scan, or all scans in a folder or zip archive.

    A folder of masks has a record of each case. A repeated command keeps the cases whose records, files and scans are
    unchanged. A scan that cannot be segmented does not stop the others. Processes that torchrun or srun started share
    the scans, one GPU each.

    Args:
        model: a bundle folder.
        source: a scan, or a folder or zip archive of scans.
        output: a file for one scan, in the format of its ending; otherwise a folder.
        cases: names, or ``train``, ``val`` or ``test`` for the bundle's split; None for all scans.
        skip_existing: keep masks that exist, whatever made them.
        options: which scans are accepted, how they are segmented, and what is written.
        device: by default a GPU if there is one.
        progress: shows messages and progress bars; nothing by default.

    Returns:
        The first file of each mask, including existing ones; without masks that have no organ and are only DICOM.

    Raises:
        InputError: an invalid bundle, name or output, before anything is written; or scans that could not be segmented,
            after all others were.
    """
    progress, options = progress or SilentProgress(), options or PredictOptions()
    shares = Shares()
    if device is None and shares.processes > 1 and torch.cuda.is_available():
        device = f"cuda:{shares.local_rank % torch.cuda.device_count()}"
    chosen = available_device(device)
    folder = user_path(model)
    bundle = load_bundle(folder, chosen)
    names = _case_names(bundle, cases, str(model))
    picture_run = _PICTURE_RUNS.get(bundle.task)
    if picture_run is not None:
        options.check_pictures()
    else:
        options.check(bundle.labels)
    start: type[PredictionRun] = picture_run or _VolumeRun
    with tempfile.TemporaryDirectory(prefix="medups-") as scratch:
        if picture_run is not None:
            endings, subfolder = picture_run.endings, picture_run.subfolder
            listed = list_pictures(user_path(source), user_path(output), names, endings, subfolder)
        else:
            formats, series = options.formats, options.series
            listed = list_jobs(
                user_path(source), user_path(output), names, formats=formats, series=series, scratch=Path(scratch)
            )
        run = start(bundle, chosen, options, _settings(folder, options), progress, shares, listed.folder)
        run.predict_all(listed, skip_existing)
    return [job.mask for job in listed.jobs if job.mask.exists()]


class _VolumeRun(PredictionRun):
    """Scans, whose masks have their grids."""

    def read(self, job: Job) -> Volume:
        return read_scan(job.scan, self.options.resample)

    def segment(self, job: Job, scan: Volume) -> _Segmented:
        began = time.perf_counter()
        for warning in scan.warnings:
            self.progress.log(f"warning: {scan.source}: {warning}")
        require_usable(self.model, scan, self.options.force)
        if (needed := memory_bytes(self.model, scan)) > _WORTH_SAYING:
            self.progress.log(f"{job.scan.name} needs about {needed / 2**30:.1f} GiB of memory beyond the scan itself")
        mask, labels = segment_scan(self.model, scan, self.device, self.options, self.progress.share(job.scan.name))
        return _Segmented(scan, mask, labels, time.perf_counter() - began)

    def write(self, job: Job, done: _Segmented) -> Written:
        scan, labels, ids = done.scan, done.labels, done.mask.ids
        files = write_masks(job.files, ids, scan, labels)
        if missing := [path.name for path in job.files.values() if path not in files]:
            self.progress.log(f"{job.scan.name}: no organ was found, so {', '.join(missing)} was not written")
        if done.mask.uncertainty is not None:
            files.append(job.mask.with_name(job.scan.name + UNCERTAINTY))
            write_bytes(files[-1], nifti_mask_bytes(files[-1], done.mask.uncertainty, scan))
        if self.options.preview:
            grid = Grid(scan.data.shape, scan.affine)
            image, mask = grid.to_canonical(scan.data), grid.to_canonical(ids)
            files.append(job.mask.with_name(f"{job.scan.name}.preview.png"))
            window = self.model.display_window
            write_bytes(files[-1], preview_png(image, mask, labels.organs, grid.spacing, job.scan.name, window))
        facts = {} if self.folder is None else organ_facts(ids, scan.data, scan.affine, labels.organs)
        return Written(files, done.seconds, scan.warnings, facts)


@dataclass(frozen=True)
class _Segmented:
    """A scan and its mask, not yet written."""

    scan: Volume
    mask: Segmentation
    labels: LabelSet
    seconds: float


def segment_scan(
    model: Model,
    scan: Volume,
    device: torch.device | str = "cpu",
    options: PredictOptions | None = None,
    progress: OnFraction | None = None,
) -> tuple[Segmentation, LabelSet]:
    """The mask of a scan on its own grid, repaired and reduced to the chosen organs, and those organs."""
    options = options or PredictOptions()
    mask = segment(
        model, scan, device, progress, mirror=options.mirror, bf16=options.bf16, uncertainty=options.uncertainty
    )
    ids = mask.ids
    if options.largest_component or options.fill_holes:
        ids = postprocess(ids, model.labels.organs, options.largest_component, options.fill_holes)
    labels = model.labels
    if options.organs is not None:
        kept = {number: name for number, name in labels.organs.items() if name in options.organs}
        labels = LabelSet(labels.name, kept)
        ids = np.where(np.isin(ids, list(kept)), ids, 0).astype(ids.dtype)
    return replace(mask, ids=ids), labels


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


def _settings(bundle: Path, options: PredictOptions) -> dict[str, Any]:
    """What a mask depends on besides its scan."""
    digest = hashlib.sha256()
    for part in ("configs/inference.json", "models/model.pt"):
        digest.update(file_sha256(bundle / part))
    chosen = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}
    return {"model": digest.hexdigest(), **chosen}


def _case_names(bundle: Model, cases: Sequence[str] | str | None, model: str) -> list[str] | None:
    if cases is None:
        return None
    if isinstance(cases, str):
        names = list(bundle.split[cases] if cases in bundle.split else (name.strip() for name in cases.split(",")))
    else:
        names = list(cases)
    if not names:
        raise InputError(f"--cases {cases}: {model} lists no such cases; pass case names, or omit it for all scans")
    return names
