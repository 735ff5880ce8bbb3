"""The page of an evaluation of objects or panoptic segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from medups.report.page.document import document, table
from medups.report.page.picture_results import by_picture_table, drawings_section
from medups.report.tables import number, object_summary_rows, title_of

_NOTES = {
    "objects": "Average precision (AP) is the mean over IoU thresholds from 0.5 to 0.95 and over all scores, as COCO "
    "defines it; of boxes, of masks, and of the masks' borders (boundary AP). F1 counts predictions with a score of at "
    "least 0.5 and an IoU of at least 0.5.",
    "panoptic": "Panoptic quality (PQ) is the product of the segmentation quality (SQ, mean IoU of the matched "
    "segments) and the recognition quality (RQ, F1 score of the segments), over all segments of the set.",
}

_TITLES = {
    "ap": "AP", "ap50": "AP at 0.5", "ap75": "AP at 0.75", "ap_small": "small", "ap_medium": "medium",
    "ap_large": "large", "ar": "recall of 100", "pq": "PQ", "sq": "SQ", "rq": "RQ",
}  # fmt: skip


def object_results_page(
    summary: Mapping[str, Any], quality: str, by_picture: Mapping[str, float | None], drawn: Sequence[str]
) -> str:
    """Return HTML; the drawings are in ``overlays`` beside the page.

    Args:
        summary: of the evaluation.
        quality: the name of the score of one picture.
        by_picture: that score of each picture.
        drawn: names of the pictures that were drawn, the worst first.
    """
    header, *rows = object_summary_rows(summary)
    cells = [[f"<td>{escape(text.replace('_', ' '))}</td>" for text in row] for row in rows]
    first = next(iter(summary["mean"]))
    score = number(summary["mean"][first], 3)
    title = f"{summary['n_cases']} pictures, {title_of(first, summary['protocol'])} {score}"
    parts = [
        f"<p>{_NOTES[summary['protocol']]}</p>\n",
        table(header, cells, "Scores by class", footer=1),
        _overall(summary["overall"]),
        drawings_section(drawn, f"Pictures with the lowest {quality}"),
        "<h2>All pictures</h2>\n",
        by_picture_table(by_picture, quality),
    ]
    return document(title, "".join(parts))


def _overall(overall: Mapping[str, Mapping[str, float | None]]) -> str:
    names = list(next(iter(overall.values()), {}))
    cells = [
        [f'<th scope="row">{escape(kind)}</th>', *(f"<td>{number(values[name], 3)}</td>" for name in names)]
        for kind, values in overall.items()
    ]
    return table(
        ["", *(_TITLES[name] for name in names)], cells, "By threshold and size of the objects, or by kind of class"
    )
