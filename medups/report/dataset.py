"""A surveyed dataset as a table and as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from medups.data.survey import CaseFacts
from medups.files import write_text

_AXES = ("slices", "rows", "columns")
_COLUMNS = ("case", "part", "slices", "rows", "columns", "mm_slice", "mm_row", "mm_column", "p1", "median", "p99")


def write_cases(path: Path, facts: Sequence[CaseFacts], parts: Mapping[str, str]) -> None:
    """One row a case: size, spacing, percentiles of its intensities, and millilitres of each organ."""
    organs = list(dict.fromkeys(organ for one in facts for organ in one.volumes_ml))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_COLUMNS, *(f"{organ}_ml" for organ in organs)))
    for one in facts:
        spacing = one.spacing_mm or ("", "", "")
        volumes = (f"{one.volumes_ml[organ]:.3f}" if organ in one.volumes_ml else "" for organ in organs)
        writer.writerow((one.name, parts.get(one.name, ""), *one.shape, *spacing, *one.intensities, *volumes))
    write_text(path, text.getvalue())


def print_statistics(facts: Sequence[CaseFacts], console: Console) -> None:
    """Ranges over the cases, then one row an organ."""
    known = [one.spacing_mm for one in facts if one.spacing_mm]
    ranges = Table(title=f"{len(facts)} cases")
    for column in ("", "smallest", "median", "largest"):
        ranges.add_column(column, justify="right" if column else "left")
    measured: tuple[tuple[str, Sequence[str], Sequence[Sequence[float]]], ...] = (
        ("number of", _AXES, [one.shape for one in facts]),
        ("mm between", _AXES, known),
        ("intensity,", ("1 %", "median", "99 %"), [one.intensities for one in facts]),
    )
    for what, axes, values in measured:
        for axis, of_axis in zip(axes, zip(*values, strict=True), strict=False):
            ranges.add_row(f"{what} {axis}", *_range(of_axis))
    organs = Table(title="organs, millilitres" if known else "organs, voxels")
    for column in ("organ", "cases", "smallest", "median", "largest"):
        organs.add_column(column, justify="left" if column == "organ" else "right")
    for organ in next((one.volumes_ml for one in facts if one.volumes_ml), {}):
        there = [one.volumes_ml[organ] for one in facts if one.volumes_ml.get(organ)]
        organs.add_row(organ, str(len(there)), *(_range(there) if there else ()))
    console.print(ranges, organs, sep="\n")


def _range(values: Sequence[float]) -> tuple[str, str, str]:
    return f"{min(values):.4g}", f"{np.median(values):.4g}", f"{max(values):.4g}"
