"""Models that were evaluated on the same cases, compared."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.errors import InputError
from medups.evaluation.comparison import Comparison, Run, compare_runs, compared
from medups.evaluation.nnunet import PROTOCOL, dice_by_case, is_nnunet
from medups.evaluation.published import published as published_table
from medups.io.files import read_json, require_writable, user_path
from medups.report.comparison import write_comparison


@dataclass(frozen=True)
class _Evaluated:
    """One evaluation folder."""

    summary: dict[str, Any]
    run: Run


def compare(
    folders: Sequence[str | Path], output: str | Path | None = None, published: str | None = None
) -> Comparison:
    """Compare evaluation folders with the first one.

    Args:
        folders: each a folder that ``medups evaluate`` or nnU-Net's evaluation wrote, or ``NAME=FOLDER``. Folders with
            the same NAME are runs (seeds) of one model. Without NAME, the folder's own name.
        output: folder for comparison.json and tables; None writes nothing.
        published: a table of numbers from papers to show beside the means, such as ``synapse``.

    Raises:
        InputError: a missing or damaged file, two folders with the same name, or different protocols, cases or organs.
    """
    if not folders:
        raise InputError("compare: no folders were given")
    named: dict[str, list[Path]] = {}
    without_name: set[str] = set()
    for folder in folders:
        name, separator, path = str(folder).partition("=")
        place = user_path(path if separator else folder).resolve()
        if any(place in places for places in named.values()):
            raise InputError(f"compare: {folder} was given twice")
        model = name if separator else place.name
        if model in without_name or (not separator and model in named):
            raise InputError(f"compare: two folders have the name {model}; pass NAME=FOLDER for both")
        if not separator:
            without_name.add(model)
        named.setdefault(model, []).append(place)
    models = {name: [_read(path) for path in paths] for name, paths in named.items()}
    first = next(iter(models.values()))[0].summary
    for name, evaluated in models.items():
        for one in evaluated:
            _require_same(name, one.summary, first)
    runs = {name: [one.run for one in evaluated] for name, evaluated in models.items()}
    comparison = compare_runs(runs, first["cases"], list(first["organs"]), first["protocol"])
    if published is not None:
        comparison = replace(comparison, published=published_table(published, comparison.protocol))
    if output is not None:
        folder = user_path(output)
        require_writable(folder)
        write_comparison(folder, comparison)
    return comparison


def _require_same(name: str, summary: dict[str, Any], first: dict[str, Any]) -> None:
    for key, value, reference in (
        ("protocol", summary["protocol"], first["protocol"]),
        ("list of cases", summary["cases"], first["cases"]),
        ("organs", list(summary["organs"]), list(first["organs"])),
        ("tolerance of the surface Dice", summary.get("tolerance_mm"), first.get("tolerance_mm")),
    ):
        if value != reference:
            raise InputError(f"{name}: the {key} differs ({value} vs. {reference}); evaluate both the same way")


def _read(folder: Path) -> _Evaluated:
    path = folder / "summary.json"
    summary = read_json(path)
    if is_nnunet(summary):
        return _of_nnunet(dice_by_case(summary, path))
    if not isinstance(summary, dict) or not {"protocol", "organs", "mean", "cases"} <= set(summary):
        raise InputError(f"{path}: expected the summary of an evaluation, found other content")
    parts: dict[str, type] = {"protocol": str, "cases": list, "organs": dict, "mean": dict}
    if wrong := [key for key, kind in parts.items() if not isinstance(summary[key], kind)]:
        raise InputError(f"{path}: {', '.join(wrong)}: expected what medups evaluate writes; evaluate again")
    if not all(isinstance(name, str) for name in summary["cases"]) or len({*summary["cases"]}) < len(summary["cases"]):
        raise InputError(f"{path}: cases: expected different names; evaluate again")
    table = folder / "cases.csv"
    try:
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table}: cannot be read ({error}); evaluate again") from error
    cases = {name: index for index, name in enumerate(summary["cases"])}
    organs = {name: index for index, name in enumerate(summary["organs"])}
    scores: dict[str, NDArray[np.float64]] = {}
    try:
        for measure in (measure for measure in compared(summary["protocol"]) if rows and measure in rows[0]):
            values = np.full((len(organs), len(cases)), np.nan)
            for row in rows:
                if row[measure]:
                    values[organs[row["organ"]], cases[row["case"]]] = float(row[measure])
            scores[measure] = values
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{table}: does not fit {path} ({type(error).__name__}: {error}); evaluate again") from error
    if len(rows) != len(cases) * len(organs) or compared(summary["protocol"])[0] not in scores:
        raise InputError(
            f"{table}: expected {len(cases)} cases with {len(organs)} organs each, found {len(rows)} rows; evaluate "
            "again"
        )
    return _Evaluated(summary, Run(scores))


def _of_nnunet(dice: dict[str, dict[str, float]]) -> _Evaluated:
    cases = sorted({case for by_case in dice.values() for case in by_case})
    values = np.array([[by_case.get(case, np.nan) for case in cases] for by_case in dice.values()])
    return _Evaluated({"protocol": PROTOCOL, "cases": cases, "organs": dict.fromkeys(dice)}, Run({"dice": values}))
