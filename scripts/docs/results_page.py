"""Rebuild the tables of docs/results.md from evaluation folders named <upsampler>-<seed>.

python scripts/docs/results_page.py runs/results/evaluation

Intervals are 95% bootstrap intervals over cases, each averaged over its organs and seeds; differences pair the cases.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import DOCS, replace_section

BASELINE = "bilinear"
_DRAWS = 10_000
Scores = dict[str, dict[str, NDArray[np.float64]]]  # upsampler -> measure -> [seeds, cases]


def read(folder: Path) -> tuple[Scores, list[str]]:
    """Dice and HD95 by case, averaged over the organs that have a value."""
    values: dict[str, dict[str, list[list[float]]]] = {}
    names: list[str] = []
    for run in sorted(path for path in folder.iterdir() if (path / "cases.csv").is_file()):
        upsampler = run.name.rsplit("-", 1)[0]
        with (run / "cases.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = sorted({row["case"] for row in rows})
        for measure in ("dice", "hd95"):
            by_case = [[float(row[measure]) for row in rows if row["case"] == name and row[measure]] for name in names]
            values.setdefault(upsampler, {}).setdefault(measure, []).append([float(np.mean(case)) for case in by_case])
    scores = {up: {measure: np.array(value) for measure, value in of.items()} for up, of in values.items()}
    return scores, names


def interval(cases: NDArray[np.float64]) -> tuple[float, float]:
    """Bootstrap interval of the mean of ``cases`` [cases]."""
    drawn = np.random.default_rng(0).integers(len(cases), size=(_DRAWS, len(cases)))
    low, high = np.percentile(cases[drawn].mean(1), (2.5, 97.5))
    return float(low), float(high)


def table(scores: Scores) -> Iterator[str]:
    yield "| decoder | Dice | seeds | against bilinear | HD95, mm | seeds | against bilinear |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for upsampler in sorted(scores, key=lambda name: (name != BASELINE, name)):
        cells = []
        for measure, digits in (("dice", 3), ("hd95", 2)):
            score, base = scores[upsampler][measure], scores[BASELINE][measure]
            seeds = ", ".join(f"{value:.{digits}f}" for value in score.mean(1))
            difference = "" if upsampler == BASELINE else _with_interval(score.mean(0) - base.mean(0), digits, sign="+")
            cells += [_with_interval(score.mean(0), digits), seeds, difference]
        yield f"| `{upsampler}` | {' | '.join(cells)} |"


def _with_interval(cases: NDArray[np.float64], digits: int, sign: str = "") -> str:
    low, high = interval(cases)
    return f"{cases.mean():{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    scores, names = read(parser.parse_args().folder)
    replace_section(DOCS / "results.md", "results", table(scores))
    seeds = ", ".join(f"{name}: {len(of['dice'])} seeds" for name, of in scores.items())
    print(f"{len(names)} cases; {seeds}")


if __name__ == "__main__":
    main()
