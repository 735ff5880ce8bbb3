"""Evaluations on the terminal and as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from medups.errors import InputError
from medups.evaluation import Evaluation
from medups.files import read_json, write_json, write_text
from medups.metrics import hd95_unit

_COLUMNS = ("case", "organ", "status", "dice", "hd95", "hd95_unit", "volume_ml", "label_volume_ml")


def write_results(folder: Path, evaluation: Evaluation) -> None:
    """``cases.csv`` with one row a case and organ, then ``summary.json``."""
    unit = hd95_unit(evaluation.protocol)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for case, scores in evaluation.cases.items():
        for organ, score in scores.items():
            writer.writerow(
                [case, organ, score.status, _csv(score.dice), _csv(score.hd95), unit,
                 _csv(score.volume_ml, 3), _csv(score.label_volume_ml, 3)]
            )  # fmt: skip
    write_text(folder / "cases.csv", text.getvalue())
    write_json(folder / "summary.json", evaluation.summary())


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """One row an organ, the mean last."""
    header, *organs, mean = summary_rows(summary)
    table = Table(title=f"protocol {summary['protocol']}, {summary['n_cases']} cases")
    for column in header:
        table.add_column(column, justify="left" if column == "organ" else "right")
    for row in organs:
        table.add_row(*row)
    table.add_section()
    table.add_row(*mean)
    console.print(table)


def summary_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """The header, one row an organ, and the mean."""
    rows = [["organ", "Dice", f"HD95, {summary['hd95_unit']}", "n", "missed", "hallucinated"]]
    for organ, row in summary["organs"].items():
        counts = (str(row[key]) for key in ("n", "n_missed", "n_hallucinated"))
        rows.append([organ, number(row["dice"], 3), number(row["hd95"], 2), *counts])
    mean = summary["mean"]
    return [*rows, ["mean", number(mean["dice"], 3), number(mean["hd95"], 2), "", "", ""]]


def print_comparison(folders: Sequence[Path], console: Console) -> None:
    """One row an evaluation folder with its means; below, Dice of each organ, one column a folder.

    Raises:
        InputError: a folder without summary.json, or evaluations of different protocols, cases or organs.
    """
    summaries = {folder.name: read_json(folder / "summary.json") for folder in folders}
    if len(summaries) != len(folders):
        raise InputError("compare: two folders have the same name; the name tells the rows apart")
    first = next(iter(summaries.values()))
    for name, summary in summaries.items():
        for key, found, expected in (
            ("protocol", summary["protocol"], first["protocol"]),
            ("list of cases", summary.get("cases"), first.get("cases")),
            ("organs", list(summary["organs"]), list(first["organs"])),
        ):
            if found != expected:
                raise InputError(f"{name}: the {key} differs ({found} against {expected}); compare like with like")
    title = f"protocol {first['protocol']}, {first['n_cases']} cases"
    means = Table(title=title, box=SIMPLE)
    for column in ("", "Dice", f"HD95, {first['hd95_unit']}"):
        means.add_column(column, justify="right" if column else "left")
    for name, summary in summaries.items():
        means.add_row(name, number(summary["mean"]["dice"], 3), number(summary["mean"]["hd95"], 2))
    organs = Table(title="Dice by organ", box=SIMPLE)
    for column in ("", *summaries):
        organs.add_column(column, justify="right" if column else "left")
    for organ in first["organs"]:
        dice = (number(summary["organs"][organ]["dice"], 3) for summary in summaries.values())
        organs.add_row(organ.replace("_", " "), *dice)
    console.print(means, organs, sep="\n")


def print_profile(rates: Mapping[str, float], console: Console) -> None:
    """Samples per second of ``data``, ``network`` and ``training``, and which of the first two limits the third."""
    table = Table(title="samples per second", box=SIMPLE)
    for column in ("", "samples/s"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in rates.items():
        table.add_row(name if name == "training" else f"{name} alone", f"{value:.1f}")
    console.print(table)
    limit = "the data: raise training.workers" if rates["data"] < rates["network"] else "the network: it need not wait"
    console.print(f"What limits is {limit}.", highlight=False)


def number(value: float | None, digits: int) -> str:
    """A dash for what there is not."""
    return "–" if value is None else f"{value:.{digits}f}"


def _csv(value: float | None, digits: int = 6) -> str:
    return "" if value is None else f"{value:.{digits}f}"
