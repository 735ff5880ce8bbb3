"""A surveyed dataset as a table and as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from medups.data.survey import CaseFacts
from medups.io.files import write_csv

_AXES = ("slices", "rows", "columns")
_COLUMNS = ("case", "part", "slices", "rows", "columns", "mm_slice", "mm_row", "mm_column", "p1", "median", "p99")


def write_cases(path: Path, facts: Sequence[CaseFacts], parts: Mapping[str, str]) -> None:
    """One row per case: size, spacing, percentiles of its intensities, and milliliters of each organ."""
    organs = list(dict.fromkeys(organ for case in facts for organ in case.volumes_ml))
    rows: list[tuple[object, ...]] = [(*_COLUMNS, *(f"{organ}_ml" for organ in organs))]
    for case in facts:
        spacing = case.spacing_mm or ("", "", "")
        volumes = (f"{case.volumes_ml[organ]:.3f}" if organ in case.volumes_ml else "" for organ in organs)
        rows.append((case.name, parts.get(case.name, ""), *case.shape, *spacing, *case.intensities, *volumes))
    write_csv(path, rows)


def print_statistics(facts: Sequence[CaseFacts], console: Console) -> None:
    """Print ranges over the cases, then one row per organ."""
    spacings = [case.spacing_mm for case in facts if case.spacing_mm]
    ranges = Table(title=f"{len(facts)} cases")
    for column in ("", "smallest", "median", "largest"):
        ranges.add_column(column, justify="right" if column else "left")
    measured: tuple[tuple[str, Sequence[str], Sequence[Sequence[float]]], ...] = (
        ("number of", _AXES, [case.shape for case in facts]),
        ("mm between", _AXES, spacings),
        ("intensity,", ("1 %", "median", "99 %"), [case.intensities for case in facts]),
    )
    for quantity, axes, values in measured:
        for axis, axis_values in zip(axes, zip(*values, strict=True), strict=False):
            ranges.add_row(f"{quantity} {axis}", *_range(axis_values))
    organs = Table(title="organs, milliliters" if spacings else "organs, voxels")
    for column in ("organ", "cases", "smallest", "median", "largest"):
        organs.add_column(column, justify="left" if column == "organ" else "right")
    for organ in next((case.volumes_ml for case in facts if case.volumes_ml), {}):
        present = [case.volumes_ml[organ] for case in facts if case.volumes_ml.get(organ)]
        organs.add_row(organ, str(len(present)), *(_range(present) if present else ()))
    console.print(ranges, organs, sep="\n")


def _range(values: Sequence[float]) -> tuple[str, str, str]:
    return f"{min(values):.4g}", f"{np.median(values):.4g}", f"{max(values):.4g}"
