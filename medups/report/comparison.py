"""A comparison of models as tables on a console and in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medups.evaluation.comparison import COMPARED, OVERALL, Comparison
from medups.evaluation.statistics import LEAST_CASES, Difference, coverage, least_for_tests
from medups.io.files import write_json, write_text
from medups.report.paper import Rows, markdown, write_tables
from medups.report.tables import digits_of, number, title_of

_INTERVAL = "95 % interval"


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print means, differences against the first model, and what they say."""
    title = f"protocol {comparison.protocol}, {len(comparison.cases)} cases"
    _print(title, mean_rows(comparison), console)
    if len(comparison.models) > 1:
        _print(f"against {comparison.models[0]}", difference_rows(comparison), console)
        first = comparison.measures[0]
        title = f"{title_of(first, comparison.protocol)} by organ, against {comparison.models[0]}"
        _print(title, organ_rows(comparison, first), console)
    for sentence in conclusions(comparison):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write ``comparison.json``, and its tables as Markdown, LaTeX and CSV."""
    tables = {"means": mean_rows(comparison)}
    if len(comparison.models) > 1:
        tables["differences"] = difference_rows(comparison)
        tables |= {f"organs_{measure}": organ_rows(comparison, measure) for measure in comparison.measures}
    write_tables(folder, tables)
    text = "\n\n".join(markdown(rows) for rows in tables.values())
    write_text(
        folder / "comparison.md", text + "\n\n" + "\n".join(f"- {line}" for line in conclusions(comparison)) + "\n"
    )
    write_json(folder / "comparison.json", asdict(comparison))


def mean_rows(comparison: Comparison) -> Rows:
    """One row per model: its means over organs, their spread over runs, and how often it is first."""
    measures, first = comparison.measures, comparison.measures[0]
    several = any(spread.runs > 1 for spread in comparison.spreads[first].values())
    header = ["", *(["runs"] if several else []), *(title_of(measure, comparison.protocol) for measure in measures)]
    if comparison.ranks:
        header.append(f"first by {title_of(first, comparison.protocol)}")
    rows = [header]
    for name in comparison.models:
        cells = [name, *([str(comparison.spreads[first][name].runs)] if several else [])]
        for measure in measures:
            between = comparison.spreads[measure][name].between_runs
            spread = "" if between is None else f" ± {number(between, digits_of(measure))}"
            cells.append(number(comparison.means[name][measure][OVERALL], digits_of(measure)) + spread)
        if comparison.ranks:
            cells.append(f"{comparison.ranks[first][name][0]:.0%}" if first in comparison.ranks else "")
        rows.append(cells)
    for row in comparison.published.rows if comparison.published else ():
        values = {"dice": row.dice, "hd95": row.hd95}
        cells = [f"{row.name} (published, {row.source})", *([""] if several else [])]
        cells += [number(values.get(measure), digits_of(measure)) for measure in measures]
        rows.append([*cells, *([""] if comparison.ranks else [])])
    return rows


def difference_rows(comparison: Comparison) -> Rows:
    """One row per model and measure: the difference of the means over organs."""
    rows = [["", "measure", "n", "difference", _INTERVAL, "p (Holm)", "effect"]]
    for name in comparison.models[1:]:
        for measure in comparison.measures:
            if (found := comparison.differences[measure][name].get(OVERALL)) is not None:
                effect = "–" if found.effect is None else f"{found.effect:+.2f}"
                title = title_of(measure, comparison.protocol)
                rows.append([name, title, str(found.n), *_cells(found, digits_of(measure)), effect])
    return rows


def organ_rows(comparison: Comparison, measure: str) -> Rows:
    """One row per organ and model."""
    reference = comparison.models[0]
    rows = [["organ", "", reference, "difference", _INTERVAL, "p (Holm)"]]
    for organ in comparison.organs:
        for name in comparison.models[1:]:
            if (found := comparison.differences[measure][name].get(organ)) is not None:
                mean = number(comparison.means[reference][measure][organ], digits_of(measure))
                rows.append([organ.replace("_", " "), name, mean, *_cells(found, digits_of(measure))])
    return rows


def conclusions(comparison: Comparison) -> list[str]:
    """What the comparison shows and what it does not, in sentences."""
    reference = comparison.models[0]
    sentences = []
    for name in comparison.models[1:]:
        for measure in comparison.measures:
            if (found := comparison.differences[measure][name].get(OVERALL)) is not None:
                sentences.append(_verdict(comparison, name, reference, measure, found))
    sentences += _about_few_cases(comparison)
    if len(comparison.models) > 1:
        one_run = all(spread.runs == 1 for spread in comparison.spreads[comparison.measures[0]].values())
        sentences.append(
            "One training run of each: the intervals cover the choice of cases, not of the run. Repeat the training "
            "with other seeds and pass NAME=FOLDER for each."
            if one_run
            else "Intervals resample training runs and cases; p is about the cases of these runs; ± is the standard "
            "deviation between runs."
        )
    if comparison.published:
        sentences.append(f"Published: {comparison.published.note}.")
    for measure, count in comparison.left_out.items():
        if count:
            title = title_of(measure, comparison.protocol)
            sentences.append(f"{title} leaves out {count} organs of cases that only some runs have a score for.")
    return sentences


def _about_few_cases(comparison: Comparison) -> list[str]:
    overall = [
        rows[OVERALL] for models in comparison.differences.values() for rows in models.values() if OVERALL in rows
    ]
    n = max((row.n for row in overall), default=0)
    if not n:
        return []
    sentences = []
    if n < LEAST_CASES:
        sentences.append(
            f"No interval is given for fewer than {LEAST_CASES} cases, because it would not mean anything."
        )
    elif covered := coverage(n):
        sentences.append(
            f"With {n} cases, intervals that should hold the true mean in 95 % of studies hold it in {covered}."
        )
    least = least_for_tests(sum(row.p is not None for row in overall))
    if n < least:
        sentences.append(f"With {n} cases, no test can reach p < 0.05 here; evaluate at least {least}.")
    return sentences


def _verdict(comparison: Comparison, name: str, reference: str, measure: str, found: Difference) -> str:
    digits = digits_of(measure)
    amount = f"{title_of(measure, comparison.protocol)} {_signed(found.mean, digits)}"
    if interval := _interval(found, digits):
        amount += f" ({interval})"
    if not found.is_shown:
        needed = ""
        if found.needed and found.needed > found.n:
            needed = f"; about {found.needed} cases would show a difference of this size in a single test"
        return f"{name} against {reference}: {amount}: no difference shown{needed}."
    if found.effect and (found.effect > 0) != (found.mean > 0):
        most = "better" if (found.effect > 0) == COMPARED[measure] else "worse"
        return (
            f"{name} against {reference}: {amount}: {most} in most cases, {_p_is(found.p_adjusted)}, but a few large "
            "differences turn the mean the other way."
        )
    better = (found.mean > 0) == COMPARED[measure]
    return f"{name} against {reference}: {amount}: {'better' if better else 'worse'}, {_p_is(found.p_adjusted)}."


def _cells(found: Difference, digits: int) -> list[str]:
    return [_signed(found.mean, digits), _interval(found, digits) or "–", _p(found.p_adjusted)]


def _interval(found: Difference, digits: int) -> str:
    if found.low is None or found.high is None:
        return ""
    return f"{_signed(found.low, digits)} to {_signed(found.high, digits)}"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}"


def _p_is(p: float | None) -> str:
    text = _p(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _print(title: str, rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(title=title, box=SIMPLE)
    for index, column in enumerate(rows[0]):
        table.add_column(column, justify="right" if index else "left", no_wrap=column == _INTERVAL)
    for row in rows[1:]:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
