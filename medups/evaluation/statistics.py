"""Paired statistics of two models on the same cases, and ranks over resampled cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]
CONFIDENCE = 0.95
POWER = 0.8
LEAST_CASES = 3
"""For an interval."""
LEAST_FOR_A_TEST = 6
"""Cases: 2 ** (1 - 6) is the smallest p that Wilcoxon's test can have with six."""
_RESAMPLES = 10_000
_WILCOXON_EFFICIENCY = 0.955  # against the t test, if differences are normal
_ROUNDING = 1e-9  # of the largest difference: equal differences, but for their last bits
_SEED = 0


@dataclass(frozen=True)
class Difference:
    """A model minus the reference, paired by case.

    Args:
        n: cases with a score of both.
        mean: of the differences.
        low, high: 95 % interval of the mean; None for fewer than three cases.
        p: two-sided, of Wilcoxon's signed-rank test; None if it has no differences to rank.
        effect: matched-pairs rank-biserial correlation, -1 to 1: the share of rank sums for minus that against.
        needed: cases that would show this mean difference with 80 % power in a single test; None if there is no
            difference.
        p_adjusted: by Holm, over the tests that :class:`~medups.evaluation.comparison.Comparison` takes together.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None
    effect: float | None
    needed: int | None
    p_adjusted: float | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the adjusted test rejects equality."""
        return self.p_adjusted is not None and self.p_adjusted < 1 - CONFIDENCE


def paired_difference(model: Sequence[Scores] | Scores, reference: Sequence[Scores] | Scores) -> Difference | None:
    """Compare two models; None without a common case.

    Several runs of a model (seeds) are averaged by case for the mean and the test; the interval then resamples runs
    and cases (two-level bootstrap). With one run each it is the bias-corrected accelerated bootstrap over cases, which
    says nothing about other training runs. Both intervals are too short for few cases, see :func:`coverage`.

    Args:
        model, reference: scores by case of each run, NaN where a case has none; the same cases in the same order.
    """
    runs = [np.stack(list(scores)) for scores in (model, reference)]
    known = np.all([~np.isnan(scores).any(0) for scores in runs], axis=0)
    first, second = (scores[:, known] for scores in runs)
    if not known.any():
        return None
    differences = first.mean(0) - second.mean(0)
    n, mean = len(differences), float(differences.mean())
    low = high = None
    if n >= LEAST_CASES:
        several = len(first) > 1 or len(second) > 1
        low, high = _two_level(first, second) if several else _over_cases(differences)
    return Difference(n, mean, low, high, _wilcoxon(differences), _rank_biserial(differences), _needed(differences))


def coverage(n: int) -> str | None:
    """How often the interval over ``n`` cases has the true mean, as simulated; None from 50 cases on.

    600 samples each of normal and of exponentially skewed differences; the lower of both, in percent.
    """
    simulated = {4: 79, 8: 85, 12: 88, 16: 91, 30: 91, 50: 93}
    fewer = [cases for cases in simulated if cases <= n]
    if n >= max(simulated):
        return None
    return f"about {simulated[fewer[-1]]} %" if fewer else f"less than {simulated[4]} %"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment: the chance of any false rejection stays below the level. None stays None, uncounted."""
    known = [(p, index) for index, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(sorted(known)):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = largest
    return adjusted


def rank_shares(scores: Mapping[str, Scores], higher_is_better: bool = True) -> dict[str, list[float]]:
    """How often each model has each rank by its mean over resampled cases, first rank first.

    Args:
        scores: one for each case, the same cases for all models; cases without a score of some model are left out.
    """
    table = np.stack(list(scores.values()))
    table = table[:, ~np.isnan(table).any(0)] * (1 if higher_is_better else -1)
    rng = np.random.default_rng(_SEED)
    drawn = rng.integers(table.shape[1], size=(_RESAMPLES, table.shape[1]))
    means = np.stack([own[drawn].mean(1) for own in table])
    ranks = stats.rankdata(-means, axis=0, method="min")
    return {
        name: [float((own == rank).mean()) for rank in range(1, len(table) + 1)]
        for name, own in zip(scores, ranks, strict=True)
    }


def _over_cases(differences: Scores) -> tuple[float, float]:
    if np.ptp(differences) <= _ROUNDING * np.abs(differences).max():
        return float(differences.mean()), float(differences.mean())
    with np.errstate(all="ignore"):
        interval = stats.bootstrap(
            (differences,), np.mean, n_resamples=_RESAMPLES, confidence_level=CONFIDENCE, method="BCa",
            rng=np.random.default_rng(_SEED),
        ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def _two_level(first: Scores, second: Scores) -> tuple[float, float]:
    """Percentile interval over resampled cases, the same for both models, and resampled runs of each."""
    rng = np.random.default_rng(_SEED)
    cases = rng.integers(first.shape[1], size=(_RESAMPLES, first.shape[1]))
    means = []
    for scores in (first, second):
        runs = rng.integers(len(scores), size=(_RESAMPLES, len(scores)))
        weights = np.stack([(runs == run).mean(1) for run in range(len(scores))], 1)
        by_run = np.stack([run[cases].mean(1) for run in scores], 1)
        means.append((weights * by_run).sum(1))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means[0] - means[1], (tail, 100 - tail))
    return float(low), float(high)


def _wilcoxon(differences: Scores) -> float | None:
    return float(stats.wilcoxon(differences).pvalue) if np.any(differences != 0) else None


def _rank_biserial(differences: Scores) -> float | None:
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return None
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def least_for_tests(tests: int) -> int:
    """The fewest cases with which one of these tests can reach p < 0.05 after Holm's adjustment."""
    n = LEAST_FOR_A_TEST
    while max(1, tests) * 2.0 ** (1 - n) >= 1 - CONFIDENCE:
        n += 1
    return n


def _needed(differences: Scores) -> int | None:
    """From the normal approximation of a paired test with the observed mean and standard deviation."""
    if len(differences) < LEAST_CASES or differences.mean() == 0:
        return None
    quantiles = stats.norm.ppf(0.5 + CONFIDENCE / 2) + stats.norm.ppf(POWER)
    return max(
        LEAST_FOR_A_TEST,
        ceil((quantiles * differences.std(ddof=1) / differences.mean()) ** 2 / _WILCOXON_EFFICIENCY),
    )
