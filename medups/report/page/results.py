"""The page of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from urllib.parse import quote

from matplotlib.colors import to_hex

from medups.evaluation import Evaluation
from medups.metrics import OrganScore
from medups.report.overlay import organ_colors
from medups.report.page.charts import distribution_svg
from medups.report.page.document import asset, document, table
from medups.report.page.volumes import ViewedCase
from medups.report.tables import definitions, number, summary_rows, title_of

_SORTED = "Cases are sorted by their mean Dice, worst first."
_VIEWED = " Choose a case to see it in the viewer."


def results_page(evaluation: Evaluation, pictures: Iterable[str], volumes: Sequence[ViewedCase] = ()) -> str:
    """Return HTML without external resources; only readers without scripts see the pictures beside it.

    Args:
        pictures: names of the cases that have a picture, in ``overlays/CASE.png`` beside the page.
        volumes: the cases for the viewer; empty for a page without it.
    """
    summary = evaluation.summary()
    header, *rows = summary_rows(summary)
    count = summary["n_cases"]
    title = f"{count} case{'s' if count != 1 else ''}, protocol {summary['protocol']}"
    organs = dict(enumerate(evaluation.organs, start=1))
    colors = organ_colors(organs)
    data = {
        "organs": [
            {"id": number, "name": organ.replace("_", " "), "color": to_hex(colors[number])}
            for number, organ in organs.items()
        ],
        "cases": [asdict(case) for case in volumes],
    }
    means = [[_cell(_readable(text)) for text in row] for row in rows]
    columns = ["case", *map(_readable, evaluation.organs), "mean"]
    parts = [
        table(header, means, "Means over cases", footer=1),
        f"<p>{escape(definitions(summary))}</p>\n",
        f'<h2>Distribution over cases</h2>\n<div class="charts">{"".join(_charts(evaluation))}</div>\n',
        f"<h2>Cases</h2>\n<p>{_SORTED}{_VIEWED if volumes else ''}</p>\n",
        table(columns, _case_rows(evaluation), "Dice of every case"),
        asset("viewer.html") if volumes else "",
        f"<noscript><h2>Pictures</h2>\n{''.join(_figures(pictures))}</noscript>\n",
    ]
    return document(title, "".join(parts), data)


def _charts(evaluation: Evaluation) -> Iterable[str]:
    for measure, top in (("dice", 1.0), ("hd95", None)):
        values = {
            organ.replace("_", " "): [
                (case, value)
                for case, scores in evaluation.cases.items()
                if (value := getattr(scores[organ], measure)) is not None
            ]
            for organ in evaluation.organs
        }
        yield distribution_svg(values, title_of(measure, evaluation.protocol), top)


def _case_rows(evaluation: Evaluation) -> list[list[str]]:
    """One row per case, the worst first; cases without any score last."""
    means = {case: _mean_dice(scores.values()) for case, scores in evaluation.cases.items()}
    order = sorted(evaluation.cases, key=lambda case: (means[case] is None, means[case] or 0))
    return [
        [
            f'<th scope="row" data-case="{escape(case)}">{escape(case)}</th>',
            *(_shaded(score.dice, score.status) for score in evaluation.cases[case].values()),
            _shaded(means[case], "scored"),
        ]
        for case in order
    ]


def _mean_dice(scores: Iterable[OrganScore]) -> float | None:
    known = [score.dice for score in scores if score.dice is not None]
    return sum(known) / len(known) if known else None


def _figures(pictures: Iterable[str]) -> Iterable[str]:
    for case in pictures:
        name = escape(case)
        yield (
            f'<h3>Case {name}</h3>\n<img src="overlays/{escape(quote(case))}.png" '
            f'alt="prediction and label of case {name}" loading="lazy">\n'
        )


def _cell(content: str, shade: str = "") -> str:
    style = f' class="shade" style="--dice: {shade}"' if shade else ""
    return f"<td{style}>{content}</td>"


def _shaded(dice: float | None, status: str) -> str:
    """A cell from red (0) to green (1), with the status instead of the number if the organ was not scored."""
    return _cell(number(dice, 3) if status == "scored" else status, "" if dice is None else f"{dice:.3f}")


def _readable(organ: str) -> str:
    return escape(organ.replace("_", " "))
