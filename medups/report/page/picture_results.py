"""The page of an evaluation of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from medups.report.page.document import document, table
from medups.report.tables import number, picture_summary_rows


def picture_results_page(summary: Mapping[str, Any], means: Mapping[str, float | None], drawn: Sequence[str]) -> str:
    """Return HTML; the drawings are in ``overlays`` beside the page.

    Args:
        summary: of the evaluation.
        means: mean IoU of each picture.
        drawn: names of the pictures that were drawn, the worst first.
    """
    header, *rows = picture_summary_rows(summary)
    cells = [[f"<td>{escape(text.replace('_', ' '))}</td>" for text in row] for row in rows]
    count = summary["n_cases"]
    title = f"{count} picture{'s' if count != 1 else ''}, mean IoU {number(summary['mean']['iou'], 3)}"
    parts = [
        f"<p>Pixel accuracy {number(summary['accuracy'], 3)}. Scores of classes are over all pixels of the set "
        "together, as the literature reports them. The boundary IoU counts pixels within 2 % of "
        "the diagonal from a border.</p>\n",
        table(header, cells, "Scores by class", footer=1),
        drawings_section(drawn, "Pictures with the lowest mean IoU"),
        "<h2>All pictures</h2>\n",
        by_picture_table(means, "mean IoU"),
    ]
    return document(title, "".join(parts))


def by_picture_table(scores: Mapping[str, float | None], measure: str) -> str:
    """The score of each picture, the lowest first."""
    order = sorted(scores, key=lambda name: (scores[name] is None, scores[name] or 0))
    rows = [
        [
            f'<th scope="row">{escape(name)}</th>',
            f'<td class="shade" style="--dice: {scores[name] or 0:.3f}">{number(scores[name], 3)}</td>',
        ]
        for name in order
    ]
    return table(["picture", measure], rows, f"{measure[:1].upper()}{measure[1:]} of each picture, the lowest first")


def drawings_section(drawn: Sequence[str], title: str) -> str:
    """The drawings in ``overlays`` beside the page; empty without any."""
    figures = [
        f'<h3>{escape(name)}</h3>\n<img src="overlays/{escape(quote(name))}.png" '
        f'alt="prediction and label of {escape(name)}" loading="lazy">\n'
        for name in drawn
    ]
    return f"<h2>{title}</h2>\n{''.join(figures)}" if figures else ""
