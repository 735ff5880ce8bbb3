"""Rebuild the tables of docs/results.md from docs/results.csv, which scripts/results.py writes.

    python scripts/docs/results_page.py

Differences are paired by case, each case averaged over its organs, and over the seeds that both upsamplers have. Their
intervals of 95 % are those of ``medups compare``: a two-level bootstrap over seeds and cases. The spread over seeds is
the standard deviation of their means.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import DOCS, replace_section

from medups.evaluation.statistics import paired_difference

BASELINE = "linear"
SKIP = ", image skip"
"""Runs whose last step also concatenates the image have a table of their own, against ``linear`` with it."""
MEASURES = {"dice": "Dice", "border_dice": "border Dice", "surface_dice": "surface Dice", "hd95": "HD95, mm"}

Run = tuple[str, str, str]  # network, steps, upsampler
Table = dict[Run, dict[int, dict[str, dict[str, float]]]]  # run -> seed -> case or organ -> measure -> value


def read(path: Path, kind: str) -> Table:
    """The rows of cases, or of organs."""
    table: Table = defaultdict(lambda: defaultdict(dict))
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == kind:
                values = {measure: float(row[measure] or "nan") for measure in MEASURES}
                network, upsampler = row["network"], row["upsampler"]
                runs = [(network, row["steps"], upsampler)]
                if upsampler.endswith(SKIP):
                    runs.append((network + SKIP, row["steps"], upsampler.removesuffix(SKIP)))
                    if upsampler != BASELINE + SKIP:
                        runs = runs[1:]
                for run in runs:
                    table[run][int(row["seed"])][row["name"]] = values
    return table


def values(table: Table, run: Run, seeds: list[int], measure: str) -> NDArray[np.float64]:
    """[seeds, cases or organs]."""
    names = sorted(table[run][seeds[0]])
    return np.array([[table[run][seed][name][measure] for name in names] for seed in seeds])


def pairs(table: Table, run: Run, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The run's values and the baseline's [seeds, cases or organs], of the seeds that both have."""
    base = (*run[:2], BASELINE)
    seeds = sorted(table[run].keys() & table[base].keys())
    return values(table, run, seeds, measure), values(table, base, seeds, measure)


def difference(table: Table, run: Run, measure: str) -> str:
    """Against the baseline, as ``medups compare`` computes it."""
    found = paired_difference(*pairs(table, run, measure))
    if found is None:
        return ""
    digits = 2 if measure == "hd95" else 3
    mean, *ends = ("" if value is None else f"{value:+.{digits}f}" for value in (found.mean, found.low, found.high))
    return f"{mean} ({' to '.join(ends)})" if all(ends) else mean


def sections(cases: Table, organs: Table) -> Iterator[str]:
    """A heading and two tables for every network and number of steps."""
    for network, steps in sorted({run[:2] for run in cases}, key=lambda pair: (int(pair[1]), pair[0])):
        runs = sorted((run for run in cases if run[:2] == (network, steps)), key=lambda run: (run[2] != BASELINE, run))
        if len(runs) < 2:
            continue
        title = f"`{network.removesuffix(SKIP)}`, {steps} steps"
        yield f"**{title}{', the image concatenated in the last step' if network.endswith(SKIP) else ''}**"
        yield ""
        heads = " | ".join(f"{title} against {BASELINE}" for title in MEASURES.values())
        yield f"| upsampler | seeds | Dice | spread over seeds | {heads} |"
        yield "|---|--:|--:|--:|" + "--:|" * len(MEASURES)
        for run in runs:
            seeds = sorted(cases[run])
            means = np.nanmean(values(cases, run, seeds, "dice"), 1)
            spread = f"{means.std(ddof=1):.3f}" if len(means) > 1 else ""
            cells = [] if run[2] != BASELINE else [""] * len(MEASURES)
            cells = cells or [difference(cases, run, measure) for measure in MEASURES]
            yield f"| `{run[2]}` | {len(seeds)} | {means.mean():.3f} | {spread} | {' | '.join(cells)} |"
        names = sorted(organs[runs[0]][min(organs[runs[0]])])
        yield ""
        yield f"Dice of each organ against {BASELINE}:"
        yield ""
        yield f"| upsampler | {' | '.join(name.replace('_', ' ') for name in names)} |"
        yield "|---|" + "--:|" * len(names)
        for run in runs[1:]:
            own, base = pairs(organs, run, "dice")
            yield f"| `{run[2]}` | {' | '.join(f'{value:+.3f}' for value in (own - base).mean(0))} |"
        yield ""


def main() -> None:
    table = DOCS / "results.csv"
    cases, organs = read(table, "case"), read(table, "organ")
    replace_section(DOCS / "results.md", "results", sections(cases, organs))
    print(f"{sum(len(seeds) for seeds in cases.values())} runs")


if __name__ == "__main__":
    main()
