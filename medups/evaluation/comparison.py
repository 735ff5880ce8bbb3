"""Several models on the same cases: differences against the first one, ranks, and how much runs and cases vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medups.evaluation.objects import ObjectEvaluation
from medups.evaluation.panoptic import PanopticEvaluation
from medups.evaluation.pictures import PROTOCOL as PIXELS
from medups.evaluation.published import Published
from medups.evaluation.statistics import Difference, holm, paired_difference, rank_shares

COMPARED = {
    "dice": True, "surface_dice": True, "hd95": False, "iou": True, "boundary_iou": True,
    "f1": True, "pq": True, "sq": True, "rq": True,
}  # fmt: skip
"""The measures that are compared, and whether higher is better."""
_OF_PROTOCOLS = {
    PIXELS: ("iou", "boundary_iou", "dice"),
    ObjectEvaluation.protocol: ("f1",),
    PanopticEvaluation.protocol: ("pq", "sq", "rq"),
}
_OF_VOLUMES = ("dice", "surface_dice", "hd95")
OVERALL = "mean"


@dataclass(frozen=True)
class Run:
    """The scores of one training run: by measure, [organs, cases], NaN where there is none."""

    scores: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Spread:
    """How much a model's mean over organs varies.

    Args:
        runs: number of training runs.
        between_runs: standard deviation of the runs' means; None for one run.
        between_cases: standard deviation over cases, of the mean over runs; None for one case.
    """

    runs: int
    between_runs: float | None
    between_cases: float | None


@dataclass(frozen=True)
class Comparison:
    """Models on the same cases.

    Args:
        models: names; the first is the reference.
        means: by model and measure, then by organ; ``mean``: over cases, of each case's mean over its organs, because
            differences are paired by case; None without a score. ``summary.json`` averages organs last, so the two
            differ where a case lacks an organ.
        differences: by measure, then by model, then by organ and ``mean``; p values are adjusted over all models and
            measures for ``mean``, and for the organs of each measure over all models and organs.
        ranks: by measure and model, how often the model has each rank over resampled cases.
        spreads: by measure and model.
        left_out: by measure, the organs of cases that only some of the models have a score for.
        published: numbers from papers, shown beside the means and not compared.
    """

    protocol: str
    cases: list[str]
    organs: list[str]
    models: list[str]
    means: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]]
    ranks: Mapping[str, Mapping[str, list[float]]]
    spreads: Mapping[str, Mapping[str, Spread]]
    left_out: Mapping[str, int]
    published: Published | None = None

    @property
    def measures(self) -> list[str]:
        """The measures that all models have."""
        return list(self.means[self.models[0]])


def compared(protocol: str) -> tuple[str, ...]:
    """The measures that are compared under a protocol; the first one decides ranks."""
    return _OF_PROTOCOLS.get(protocol, _OF_VOLUMES)


def compare_runs(
    models: Mapping[str, Sequence[Run]], cases: Sequence[str], organs: Sequence[str], protocol: str
) -> Comparison:
    """Compare every model with the first one.

    An organ of a case counts only if all runs have a score for it, so all means are over the same organs and cases.

    Args:
        models: runs (seeds) by name.
    """
    names, rows = list(models), [*organs, OVERALL]
    measures = [
        name for name in compared(protocol) if all(name in run.scores for runs in models.values() for run in runs)
    ]
    tables = {measure: _common(models, measure) for measure in measures}
    differences = {
        measure: {name: _differences(table[name], table[names[0]], rows) for name in names[1:]}
        for measure, table in tables.items()
    }
    return Comparison(
        protocol=protocol,
        cases=list(cases),
        organs=list(organs),
        models=names,
        means={name: {measure: _means(tables[measure][name], rows) for measure in measures} for name in names},
        differences=_adjusted(differences, organs),
        ranks={
            measure: rank_shares({name: runs.mean(0)[-1] for name, runs in table.items()}, COMPARED[measure])
            for measure, table in tables.items()
            if len(names) > 1 and not np.isnan(table[names[0]]).all()
        },
        spreads={
            measure: {name: _spread(runs[:, -1]) for name, runs in table.items()} for measure, table in tables.items()
        },
        left_out={measure: _left_out(models, measure) for measure in measures},
    )


def _common(models: Mapping[str, Sequence[Run]], measure: str) -> dict[str, NDArray[np.float64]]:
    """Scores [runs, organs + 1, cases], NaN where any run has none; the last row is the mean over organs."""
    unknown = np.any([np.isnan(run.scores[measure]) for runs in models.values() for run in runs], axis=0)
    known = (~unknown).sum(0)
    table = {}
    for name, runs in models.items():
        scores = np.stack([np.where(unknown, 0, run.scores[measure]) for run in runs])
        means = np.where(known > 0, scores.sum(1) / np.maximum(known, 1), np.nan)
        table[name] = np.concatenate([np.where(unknown, np.nan, scores), means[:, None]], 1)
    return table


def _left_out(models: Mapping[str, Sequence[Run]], measure: str) -> int:
    unknown = np.stack([np.isnan(run.scores[measure]) for runs in models.values() for run in runs])
    return int((unknown.any(0) & ~unknown.all(0)).sum())


def _means(runs: NDArray[np.float64], rows: Sequence[str]) -> dict[str, float | None]:
    by_row = zip(rows, runs.mean(0), strict=True)
    return {row: None if np.isnan(scores).all() else float(np.nanmean(scores)) for row, scores in by_row}


def _differences(
    model: NDArray[np.float64], reference: NDArray[np.float64], rows: Sequence[str]
) -> dict[str, Difference]:
    differences = {row: paired_difference(model[:, index], reference[:, index]) for index, row in enumerate(rows)}
    return {row: difference for row, difference in differences.items() if difference is not None}


def _spread(runs: NDArray[np.float64]) -> Spread:
    known = runs[:, ~np.isnan(runs).any(0)]
    return Spread(
        runs=len(runs),
        between_runs=float(known.mean(1).std(ddof=1)) if len(runs) > 1 and known.size else None,
        between_cases=float(known.mean(0).std(ddof=1)) if known.shape[1] > 1 else None,
    )


def _adjusted(
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]], organs: Sequence[str]
) -> dict[str, dict[str, dict[str, Difference]]]:
    result = {measure: {name: dict(rows) for name, rows in models.items()} for measure, models in differences.items()}
    places = [
        (measure, name, organ) for measure in result for name in result[measure] for organ in result[measure][name]
    ]
    families = [[place for place in places if place[2] == OVERALL]]
    families += [[place for place in places if place[0] == measure and place[2] in organs] for measure in result]
    for family in families:
        adjusted = holm([result[measure][name][organ].p for measure, name, organ in family])
        for (measure, name, organ), p in zip(family, adjusted, strict=True):
            result[measure][name][organ] = replace(result[measure][name][organ], p_adjusted=p)
    return result
