"""Tables on a console, and the files of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from medups.evaluation import Evaluation
from medups.io.files import write_csv, write_json
from medups.metrics import hd95_unit


def write_results(folder: Path, evaluation: Evaluation) -> None:
    """Write ``cases.csv`` with one row per case and organ, then ``summary.json``."""
    rows = evaluation.rows()
    digits = {**dict.fromkeys(evaluation.measures, 6), "volume_ml": 3, "label_volume_ml": 3}
    cells = [[_csv(row[name], digits.get(name)) for name in row] for row in rows]
    write_csv(folder / "cases.csv", [list(rows[0]), *cells])
    write_json(folder / "summary.json", evaluation.summary())


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print one row per organ, and the mean last."""
    header, *rows = summary_rows(summary)
    _print_rows(f"protocol {summary['protocol']}, {summary['n_cases']} cases", header, rows, console)
    if note := definitions(summary):
        console.print(note, highlight=False)


def print_picture_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print one row per class, and the mean last."""
    header, *classes, mean = picture_summary_rows(summary)
    title = f"{summary['n_cases']} pictures, pixel accuracy {number(summary['accuracy'], 3)}"
    _print_rows(title, header, [*classes, mean], console)


def picture_summary_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """The header, one row per class, and the mean."""
    shown = ("iou", "boundary_iou", "dice", "recall")
    rows = [["class", *(title_of(measure, summary["protocol"]) for measure in shown), "pictures"]]
    for name, row in summary["organs"].items():
        rows.append([name, *(number(row[measure], 3) for measure in shown), str(row["n"])])
    return [*rows, ["mean", *(number(summary["mean"][measure], 3) for measure in shown), ""]]


def print_object_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print one row per class, and the mean last."""
    header, *rows = object_summary_rows(summary)
    _print_rows(f"{summary['n_cases']} pictures", header, rows, console)


def object_summary_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """The header, one row per class, and the mean."""
    shown = list(summary["mean"])
    rows = [["class", *(title_of(measure, summary["protocol"]) for measure in shown), "objects"]]
    for name, row in summary["organs"].items():
        rows.append([name, *(number(row[measure], 3) for measure in shown), str(row["n"])])
    return [*rows, ["mean", *(number(summary["mean"][measure], 3) for measure in shown), ""]]


def _print_rows(title: str, header: list[str], rows: list[list[str]], console: Console) -> None:
    """Print rows, the last one, the mean, apart from the others."""
    table = Table(title=title)
    for place, column in enumerate(header):
        table.add_column(column, justify="right" if place else "left")
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1])
    console.print(table)


def summary_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """The header, one row per organ, and the mean."""
    shown = [measure for measure in ("dice", "surface_dice", "hd95", "assd") if measure in summary["mean"]]
    titles = [title_of(measure, summary["protocol"]) for measure in shown]
    rows = [["organ", *titles, "n", "missed", "hallucinated"]]
    for organ, row in summary["organs"].items():
        counts = (str(row[key]) for key in ("n", "n_missed", "n_hallucinated"))
        rows.append([organ, *(number(row[measure], digits_of(measure)) for measure in shown), *counts])
    return [*rows, ["mean", *(number(summary["mean"][measure], digits_of(measure)) for measure in shown), "", "", ""]]


def definitions(summary: Mapping[str, Any]) -> str:
    """What each definition of the Hausdorff distance gives for the same masks, as tools differ; empty for synapse."""
    mean = summary["mean"]
    if "hd95_directed" not in mean:
        return ""
    tolerance = summary["tolerance_mm"]
    by_organ = tolerance if isinstance(tolerance, Mapping) else {"": tolerance}
    within = ", ".join(f"{organ} {mm:g}".strip() for organ, mm in by_organ.items())
    pooled, directed, largest = (number(mean[measure], 2) for measure in ("hd95", "hd95_directed", "hd"))
    return (
        f"Surface Dice within {within} mm. Mean HD95 with both directions pooled, as in medpy: {pooled} mm; with "
        f"the larger of both directions, as in MONAI: {directed} mm; the largest distance, HD: {largest} mm."
    )


def title_of(measure: str, protocol: str) -> str:
    """What tables and figures call a measure."""
    titles = {
        "iou": "IoU",
        "box_ap": "box AP",
        "mask_ap": "mask AP",
        "boundary_ap": "boundary AP",
        "f1": "F1",
        "pq": "PQ",
        "sq": "SQ",
        "rq": "RQ",
        "boundary_iou": "boundary IoU",
        "recall": "class accuracy",
        "dice": "Dice",
        "surface_dice": "surface Dice",
        "hd95": f"HD95, {hd95_unit(protocol)}",
        "assd": "ASSD, mm",
    }
    return titles[measure]


def digits_of(measure: str) -> int:
    """Decimals that tables show: two of a distance, three of a ratio."""
    return 2 if measure in ("hd95", "assd") else 3


def print_profile(rates: Mapping[str, float], console: Console) -> None:
    """Print samples per second of ``data``, ``network`` and ``training``, and the bottleneck of ``training``."""
    table = Table(title="samples per second", box=SIMPLE)
    for column in ("", "samples/s"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in rates.items():
        table.add_row(name if name == "training" else f"{name} alone", f"{value:.1f}")
    console.print(table)
    bottleneck = "data (raise training.workers)" if rates["data"] < rates["network"] else "network"
    console.print(f"Bottleneck: {bottleneck}", highlight=False)


def number(value: float | None, digits: int) -> str:
    """A rounded number, or a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def _csv(value: Any, digits: int | None) -> object:
    if value is None or digits is None:
        return "" if value is None else value
    return f"{value:.{digits}f}"
