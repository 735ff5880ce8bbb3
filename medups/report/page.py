"""An evaluation as one HTML page: means, the Dice of every case and organ, and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from medups.evaluation import Evaluation
from medups.report.tables import definitions, number, summary_rows

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
.scroll { overflow-x: auto; }
"""


def results_page(evaluation: Evaluation, pictures: Iterable[str]) -> str:
    """Return HTML without scripts or external resources.

    Args:
        pictures: names of the cases that have a picture, in ``overlays/CASE.png`` beside the page.
    """
    summary = evaluation.summary()
    header, *rows = summary_rows(summary)
    means = [[_cell(_readable(text)) for text in row] for row in rows]
    cases = [
        [_cell(escape(case)), *(_shaded(score.dice, score.status) for score in scores.values())]
        for case, scores in evaluation.cases.items()
    ]
    figures = "".join(
        f'<h3 id="{escape(case)}">Case {escape(case)}</h3>\n'
        f'<img src="overlays/{escape(quote(case))}.png" alt="prediction and label of case {escape(case)}" '
        'loading="lazy">\n'
        for case in pictures
    )
    title = f"{summary['n_cases']} cases, protocol {summary['protocol']}"
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f"{_table(header, means)}<p>{escape(definitions(summary))}</p>\n"
        f"<h2>Dice of every case</h2>\n{_table(['case', *map(_readable, evaluation.organs)], cases)}"
        f"<h2>Pictures</h2>\n{figures}</body>\n</html>\n"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def _cell(content: str, color: str = "") -> str:
    style = f' style="background: {color}"' if color else ""
    return f"<td{style}>{content}</td>"


def _shaded(dice: float | None, status: str) -> str:
    """A cell from red (0) to green (1), with the status instead of the number if the organ was not scored."""
    color = "" if dice is None else f"hsl({120 * dice:.0f} 60% 88%)"
    return _cell(number(dice, 3) if status == "scored" else status, color)


def _readable(organ: str) -> str:
    return escape(organ.replace("_", " "))
