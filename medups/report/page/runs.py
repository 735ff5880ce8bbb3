"""The page of several training runs: settings, scores, curves, and cost against quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from medups.report.page.curves import Points, curves_svg, legend
from medups.report.page.document import document, table
from medups.report.tables import number


@dataclass(frozen=True)
class TrainingRun:
    """One training run.

    Args:
        name: its folder, relative to the one that was searched.
        settings: by dotted name, those that differ between the runs.
        seed: the seed, apart from the other settings.
        steps: taken so far.
        hours: of training, without pauses between sessions.
        score: best mean validation Dice; None without validation.
        loss, dice: by step.
    """

    name: str
    settings: dict[str, Any]
    seed: Any
    steps: int
    hours: float
    score: float | None
    loss: Points
    dice: Points

    @property
    def group(self) -> str:
        """The settings that it shares with the runs of other seeds."""
        said = [
            str(value) if name in ("network.name", "upsampler.name") else f"{name.rpartition('.')[2]} {value}"
            for name, value in self.settings.items()
            if value != ""
        ]
        return ", ".join(said) or "all runs"


def runs_page(runs: Sequence[TrainingRun]) -> str:
    """Return HTML without external resources."""
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    palette = colormaps["tab10"] if len(groups) <= 10 else colormaps["gist_ncar"]
    colors = {
        name: to_hex(palette(index if len(groups) <= 10 else index / len(groups))) for index, name in enumerate(groups)
    }
    smooth = [(run.name, colors[run.group], smoothed(run.loss)) for run in runs]
    curves = [(run.name, colors[run.group], run.dice) for run in runs]
    costs = [(run.name, colors[run.group], [(run.hours, run.score)]) for run in runs if run.score is not None]
    parts = [
        "<p>Runs with the same settings but for the seed have one color.</p>\n",
        legend(colors),
        table(_GROUP_COLUMNS, _group_rows(groups), "Settings, over seeds"),
        '<div class="charts">',
        curves_svg(curves, "validation Dice", "step"),
        curves_svg(smooth, "training loss, mean of 5 % of the steps", "step"),
        curves_svg(costs, "best validation Dice", "hours of training", lines=False),
        "</div>\n",
        _run_table(runs),
    ]
    return document(f"{len(runs)} training run{'s' if len(runs) != 1 else ''}", "".join(parts))


_GROUP_COLUMNS = ["settings", "runs", "validation Dice", "± over seeds", "steps", "hours"]


def smoothed(points: Points) -> Points:
    """The mean of each twentieth of the points."""
    parts = np.array_split(np.asarray(points, dtype=np.float64).reshape(-1, 2), min(20, max(len(points), 1)))
    return [(float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts if len(part)]


def _group_rows(groups: dict[str, list[TrainingRun]]) -> list[list[str]]:
    rows = []
    for name, runs in groups.items():
        scores = [run.score for run in runs if run.score is not None]
        spread = number(float(np.std(scores, ddof=1)), 3) if len(scores) > 1 else ""
        mean = number(float(np.mean(scores)), 3) if scores else "–"
        steps, hours = (
            sum(values) / len(runs) for values in zip(*((run.steps, run.hours) for run in runs), strict=True)
        )
        cells = [str(len(runs)), mean, spread, f"{steps:.0f}", f"{hours:.2f}"]
        rows.append([f'<th scope="row">{escape(name)}</th>', *(f"<td>{cell}</td>" for cell in cells)])
    return rows


def _run_table(runs: Sequence[TrainingRun]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    header = ["run", *map(escape, names), "seed", "steps", "hours", "validation Dice", "last loss"]
    rows = []
    for run in sorted(runs, key=lambda run: -(run.score or 0)):
        last = f"{run.loss[-1][1]:.4f}" if run.loss else "–"
        cells = [
            *(str(run.settings.get(name, "")) for name in names),
            str(run.seed),
            str(run.steps),
            f"{run.hours:.2f}",
        ]
        cells += [number(run.score, 3), last]
        rows.append([f'<th scope="row">{escape(run.name)}</th>', *(f"<td>{escape(cell)}</td>" for cell in cells)])
    return table(header, rows, "Runs")
