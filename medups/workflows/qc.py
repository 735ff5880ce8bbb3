"""Look for implausible masks when there are no labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medups.data.labels import LabelSet
from medups.data.volumes import Grid, on_grid_of
from medups.data.volumes.find import scans_by_key
from medups.data.volumes.read import read_labels, read_scan
from medups.data.volumes.volume import CT_WINDOW, voxel_ml
from medups.errors import InputError
from medups.evaluation import label_set_reader
from medups.io.files import require_writable, user_path, write_bytes, write_csv, write_text
from medups.metrics.plausibility import WEIGHTS, Finding, UsualVolume, find_implausible, touched_ends
from medups.progress import Progress, SilentProgress
from medups.report.page.quality import quality_page
from medups.report.preview import preview_png

_LEAST_REFERENCES = 5
_SHOWN = 8


@dataclass(frozen=True)
class Quality:
    """What was found in one mask.

    Args:
        error: why the mask could not be read; empty if it could.
    """

    case: str
    findings: list[Finding] = field(default_factory=list)
    error: str = ""

    @property
    def weight(self) -> float:
        """How urgent it is to look at this case."""
        return float("inf") if self.error else sum(WEIGHTS[finding.kind] for finding in self.findings)


def qc(
    masks: str | Path,
    output: str | Path,
    *,
    image: str | Path | None = None,
    labels: str | None = None,
    reference: str | Path | None = None,
    reference_labels: str | None = None,
    display_window: tuple[float, float] = CT_WINDOW,
    progress: Progress | None = None,
) -> list[Quality]:
    """Check masks: missing organs, several pieces, exchanged sides, unusual volumes, contact with the scan's edge.

    Args:
        masks: a mask or a folder of masks.
        output: folder for qc.html, qc.csv and a picture of each case.
        image: the scans, for the pictures; paired by name.
        labels: label set of the masks; by default the table beside each mask.
        reference: masks with usual volumes, such as the labels of the training set, at least five.
        reference_labels: their label set.
        display_window: intensities that pictures show as black and as white.

    Returns:
        All cases, the worst first.

    Raises:
        InputError: invalid input, before anything is written; or masks that could not be read, after all others were
            checked and the page was written.
    """
    progress = progress or SilentProgress()
    paths = scans_by_key(user_path(masks))
    images = scans_by_key(user_path(image)) if image is not None else {}
    if missing := [name for name in paths if images and name not in images]:
        raise InputError(f"{image}: no image for {', '.join(missing)}")
    read_set = label_set_reader(labels, "--labels")
    sets = {name: read_set(path) for name, path in paths.items()}
    usual = _usual_volumes(reference, reference_labels, progress) if reference is not None else {}
    folder = user_path(output)
    require_writable(folder)
    found = []
    for name, path in progress.track(paths.items(), "masks", len(paths)):
        try:
            found.append(_check(name, path, images.get(name), sets[name], usual, folder, display_window))
        except InputError as error:
            found.append(Quality(name, error=str(error)))
    found.sort(key=lambda quality: (-quality.weight, quality.case))
    rows = [[quality.case, one.organ, one.kind, one.text] for quality in found for one in quality.findings]
    rows += [[quality.case, "", "unreadable", quality.error] for quality in found if quality.error]
    write_csv(folder / "qc.csv", [["case", "organ", "finding", "detail"], *rows])
    write_text(folder / "qc.html", quality_page(found))
    errors = [quality.error for quality in found if quality.error]
    if errors:
        raise InputError(f"{len(errors)} of {len(found)} masks cannot be checked: {'; '.join(errors[:_SHOWN])}")
    return found


def _check(
    name: str,
    path: Path,
    image: Path | None,
    labels: LabelSet,
    usual: dict[str, UsualVolume],
    folder: Path,
    window: tuple[float, float],
) -> Quality:
    mask = read_labels(path, labels)
    grid = Grid(mask.data.shape, mask.affine)
    ids = grid.to_canonical(mask.data).astype(np.uint8)
    background = np.full(ids.shape, window[0], dtype=np.float32)
    if image is not None:
        scan = on_grid_of(read_scan(image), mask)
        background = Grid(scan.data.shape, scan.affine).to_canonical(scan.data)
    picture = preview_png(background, ids, labels.organs, grid.spacing, name, window)
    write_bytes(folder / "pictures" / f"{name}.png", picture)
    return Quality(name, find_implausible(ids, labels.organs, voxel_ml(mask.affine), usual))


def _usual_volumes(reference: str | Path, labels: str | None, progress: Progress) -> dict[str, UsualVolume]:
    """Of organs that no end of the scan cuts."""
    paths = scans_by_key(user_path(reference))
    read_set = label_set_reader(labels, "--reference-labels")
    volumes: dict[str, list[float]] = {}
    for path in progress.track(paths.values(), "reference masks", len(paths)):
        for organ, volume in _whole_organs(path, read_set):
            volumes.setdefault(organ, []).append(volume)
    if max(map(len, volumes.values()), default=0) < _LEAST_REFERENCES:
        raise InputError(f"{reference}: usual volumes need at least {_LEAST_REFERENCES} masks with whole organs")
    return {organ: UsualVolume.of(found) for organ, found in volumes.items() if len(found) >= _LEAST_REFERENCES}


def _whole_organs(path: Path, read_set: Callable[[Path], LabelSet]) -> Iterator[tuple[str, float]]:
    labels = read_set(path)
    mask = read_labels(path, labels)
    ids: NDArray[np.integer] = Grid(mask.data.shape, mask.affine).to_canonical(mask.data)
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(ids, max(labels.organs))
    for number, organ in labels.organs.items():
        box = boxes[number - 1]
        if box is not None and not touched_ends(box, ids.shape):
            yield organ, float((ids[box] == number).sum()) * voxel_ml(mask.affine)
