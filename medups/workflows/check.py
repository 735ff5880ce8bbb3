"""What prediction would refuse or warn about, without a model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medups.data.volumes import Grid
from medups.data.volumes.find import ScanFile, find_scans
from medups.data.volumes.intensities import other_kind
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from medups.io.files import user_path


@dataclass(frozen=True)
class Checked:
    """One scan; or, without a name, what was found and is no scan that can be read.

    Args:
        shape, spacing_mm: along the axes toward head, back and the patient's left.
        intensities: the smallest, the median and the largest.
        warnings: what a person should know; prediction goes on.
        problems: what prediction refuses.
    """

    name: str
    path: str
    modality: str = ""
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    intensities: tuple[float, ...] = ()
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(
    source: str | Path, *, series: str | None = None, modality: str = "CT", resample: bool = False
) -> Iterator[Checked]:
    """Read every scan that prediction would read.

    Args:
        source, series, resample: see :func:`medups.predict`.
        modality: of the model to come.

    Raises:
        InputError: no such file or folder.
    """
    with tempfile.TemporaryDirectory(prefix="medups-") as scratch:
        found = find_scans(user_path(source), Path(scratch), series)
        for problem in found.problems:
            yield Checked("", str(source), problems=[problem])
        if found.set_aside:
            yield Checked("", str(source), warnings=[f"set aside: {note}" for note in found.set_aside])
        for scan in found.scans:
            yield _checked(scan, modality, resample)


def _checked(scan: ScanFile, modality: str, resample: bool) -> Checked:
    try:
        volume = read_scan(scan, resample)
    except InputError as error:
        return Checked(scan.name, str(scan.path), problems=[str(error)])
    grid = Grid(volume.data.shape, volume.affine)
    reason = other_kind(volume, modality)
    low, median, high = (float(value) for value in np.percentile(volume.data, (0, 50, 100)))
    return Checked(
        scan.name,
        str(scan.path),
        volume.modality or "",
        grid.canonical_shape,
        grid.spacing if volume.has_spacing else (),
        (low, median, high),
        list(volume.warnings),
        [f"{volume.source}: {reason}"] if reason else [],
    )
