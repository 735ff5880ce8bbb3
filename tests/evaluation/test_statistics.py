"""Statistics against hand-worked examples, SciPy's building blocks, and simulations of what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medups.evaluation.comparison import OVERALL, Run, compare_runs
from medups.evaluation.statistics import coverage, holm, least_for_tests, paired_difference, rank_shares


def test_holm_by_hand():
    """Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, each at least the previous checkpoint."""
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_difference_by_hand():
    """Differences 1, -2, 3, 4: ranks 1, 2, 3, 4, so 8 for and 2 against; the case without a score does not count."""
    found = paired_difference([np.array([1.0, -2, 3, 4, 9])], [np.array([0.0, 0, 0, 0, np.nan])])
    assert (found.n, found.mean) == (4, 1.5)
    assert found.effect == pytest.approx((8 - 2) / 10)
    assert found.p == pytest.approx(stats.wilcoxon([1, -2, 3, 4]).pvalue)
    assert found.p_adjusted is None
    assert not found.is_shown


def test_nothing_to_compare():
    same = np.array([0.5, 0.6, 0.7])
    found = paired_difference([same], [same])
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert (found.p, found.effect, found.needed) == (None, None, None)
    assert paired_difference([np.array([np.nan])], [np.array([1.0])]) is None
    one = paired_difference([np.array([0.6])], [np.array([0.5])])
    assert (one.low, one.high, one.needed) == (None, None, None)


def test_the_interval_over_cases_is_that_of_scipy(rng):
    model, reference = rng.normal(0.8, 0.1, (2, 20))
    found = paired_difference([model], [reference])
    expected = stats.bootstrap((model - reference,), np.mean, n_resamples=10_000, rng=np.random.default_rng(7))
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.05 * width)


def test_the_interval_over_runs_and_cases(rng):
    """Its variance is that of the cases plus that of the runs, each over its number."""
    cases, runs, shift = 40, 8, 0.02
    by_case, by_run = rng.normal(0, 0.05, cases), rng.normal(0, 0.03, runs)
    reference = [np.zeros(cases)] * runs
    only_cases = paired_difference([shift + by_case] * runs, reference)
    only_runs = paired_difference([np.full(cases, shift + offset) for offset in by_run], reference)
    both = paired_difference([shift + by_case + offset for offset in by_run], reference)
    assert only_cases.high - only_cases.low == pytest.approx(2 * 1.96 * by_case.std() / cases**0.5, rel=0.08)
    assert only_runs.high - only_runs.low == pytest.approx(2 * 1.96 * by_run.std() / runs**0.5, rel=0.08)
    widths = [found.high - found.low for found in (only_cases, only_runs, both)]
    assert widths[2] == pytest.approx(np.hypot(widths[0], widths[1]), rel=0.08)


def test_the_number_of_cases_that_are_needed(rng):
    """That many cases show the difference in about 80 % of simulated studies."""
    pilot = rng.normal(0, 1, 400)
    pilot = 0.5 + (pilot - pilot.mean()) / pilot.std(ddof=1)
    needed = paired_difference([pilot], [np.zeros(400)]).needed
    shown = [stats.wilcoxon(rng.normal(0.5, 1, needed)).pvalue < 0.05 for _ in range(400)]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(("tests", "least"), [(1, 6), (3, 7), (6, 8)])
def test_the_fewest_cases_for_a_test(tests, least):
    """All differences have one sign, so that each of the tests has the smallest p there is."""
    for n in (least - 1, least):
        p = stats.wilcoxon(np.arange(1.0, n + 1)).pvalue
        assert (holm([p] * tests)[0] < 0.05) == (n == least)
    assert least_for_tests(tests) == least


def test_ranks_over_resampled_cases(rng):
    """A model that is better in every case is always first; equal ones share the first rank."""
    scores = rng.random(12)
    shares = rank_shares({"a": scores, "b": scores + 0.1, "c": scores})
    assert shares == {"a": [0, 1, 0], "b": [1, 0, 0], "c": [0, 1, 0]}
    assert rank_shares({"a": scores, "b": scores + 0.1}, higher_is_better=False)["a"] == [1, 0]
    wins = rank_shares({"a": np.array([1.0, 0, 0]), "b": np.array([0, 1.0, 1])})["a"][0]
    assert wins == pytest.approx((1 / 3) ** 3 + 3 * (1 / 3) ** 2 * (2 / 3), abs=0.02)


def test_coverage_is_said_for_few_cases():
    assert coverage(3) == "less than 79 %"
    assert coverage(16) == coverage(20) == "about 91 %"
    assert coverage(50) is None


def test_organs_count_only_where_all_runs_have_a_score():
    """By hand: the second organ of the second case has no distance for one model, so it is left out for both."""
    none = np.nan
    a = Run({"dice": np.array([[0.5, 0.7], [0.9, 0.1]]), "hd95": np.array([[2.0, 4], [6, 8]])})
    b = Run({"dice": np.array([[0.6, 0.8], [0.9, 0.0]]), "hd95": np.array([[1.0, 3], [6, none]])})
    found = compare_runs({"a": [a], "b": [b]}, ["1", "2"], ["liver", "spleen"], "physical")
    assert found.measures == ["dice", "hd95"]
    assert found.means["a"]["hd95"] == {"liver": 3, "spleen": 6, OVERALL: 4}
    assert found.means["b"]["hd95"] == {"liver": 2, "spleen": 6, OVERALL: 3.25}
    assert found.differences["hd95"]["b"][OVERALL].mean == pytest.approx(-0.75)
    assert found.differences["dice"]["b"]["spleen"].mean == pytest.approx(-0.05)
    assert found.left_out == {"dice": 0, "hd95": 1}
    assert found.spreads["dice"]["a"].between_cases == pytest.approx(np.std([0.7, 0.4], ddof=1))


def test_runs_vary_apart_from_cases():
    scores = np.array([[0.5, 0.7, 0.9]])
    runs = [Run({"dice": scores + offset}) for offset in (-0.02, 0.02)]
    found = compare_runs({"a": runs, "b": [Run({"dice": scores})]}, list("123"), ["liver"], "physical")
    assert found.spreads["dice"]["a"].between_runs == pytest.approx(np.std([-0.02, 0.02], ddof=1))
    assert found.spreads["dice"]["a"].between_cases == pytest.approx(0.2)
    assert found.spreads["dice"]["b"].between_runs is None


def test_p_values_are_adjusted_over_all_tests(rng):
    """Two models and one measure: two tests of the mean, and two for each organ."""
    base = rng.random((2, 12))
    models = {name: [Run({"dice": base + shift + rng.normal(0, 0.05, (2, 12))})] for name, shift in
              (("reference", 0), ("near", 0.01), ("far", 0.2))}  # fmt: skip
    found = compare_runs(models, list("abcdefghijkl"), ["liver", "spleen"], "physical").differences["dice"]
    rows = [found[name][organ] for name in ("near", "far") for organ in ("liver", "spleen")]
    assert [row.p_adjusted for row in rows] == holm([row.p for row in rows])
    means = [found[name][OVERALL] for name in ("near", "far")]
    assert [row.p_adjusted for row in means] == holm([row.p for row in means])
    assert found["far"][OVERALL].is_shown
