"""Tables and figures for a paper."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from medups.evaluation import Evaluation
from medups.io.files import write_bytes, write_csv, write_text
from medups.report.tables import summary_rows, title_of

Rows = list[list[str]]


def write_paper(folder: Path, evaluation: Evaluation) -> None:
    """Write the means as CSV, LaTeX and Markdown, and box plots of Dice and HD95 by organ as SVG and PNG."""
    rows = summary_rows(evaluation.summary())
    write_tables(folder, {"means": rows})
    write_text(folder / "means.md", markdown(rows) + "\n")
    for measure in ("dice", "hd95"):
        figure = _boxes(evaluation, measure, title_of(measure, evaluation.protocol))
        for kind in ("svg", "png"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=300, metadata={"Date": None} if kind == "svg" else None)
            write_bytes(folder / f"{measure}.{kind}", buffer.getvalue())


def write_tables(folder: Path, tables: Mapping[str, Rows]) -> None:
    """Write each table as CSV and LaTeX."""
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", rows)
        write_text(folder / f"{name}.tex", latex(rows))


def markdown(rows: Rows) -> str:
    """A Markdown table."""
    lines = [rows[0], ["---"] + ["--:"] * (len(rows[0]) - 1), *rows[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def latex(rows: Rows) -> str:
    """A LaTeX tabular that needs the package booktabs."""
    lines = [" & ".join(_escaped(cell) for cell in row) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    for character in "&%_#":
        text = text.replace(character, f"\\{character}")
    return text.replace("±", r"$\pm$").replace("–", "--").replace("<", "$<$")


def _boxes(evaluation: Evaluation, measure: str, title: str) -> Figure:
    values = [
        [value for scores in evaluation.cases.values() if (value := getattr(scores[organ], measure)) is not None]
        for organ in evaluation.organs
    ]
    figure = Figure(figsize=(1.2 + 0.7 * len(values), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(values, showfliers=True, flierprops={"markersize": 3}, medianprops={"color": "black"})
    names = [organ.replace("_", " ") for organ in evaluation.organs]
    axes.set_xticks(range(1, len(names) + 1), names, rotation=40, ha="right")
    axes.set_ylabel(title)
    axes.grid(axis="y", alpha=0.3)
    return figure
