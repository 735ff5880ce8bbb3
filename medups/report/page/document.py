"""The frame of all pages: one HTML file with its style and script inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any


def document(title: str, body: str, data: Any = None) -> str:
    """A page.

    Args:
        title: of the page and of its first heading, plain text.
        body: HTML below the heading.
        data: for the viewer, see report.js.
    """
    return Template(asset("document.html")).substitute(
        title=escape(title),
        style=asset("report.css"),
        body=body,
        data=json.dumps(data or {"organs": [], "cases": []}).replace("<", "\\u003c"),
        script=asset("solid.js") + asset("report.js"),
    )


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return files("medups.report.page").joinpath(name).read_text(encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, footer: int = 0) -> str:
    """A table that a click on a title sorts, all but the last ``footer`` rows.

    Args:
        header: HTML of the titles.
        rows: cells as HTML, each with its ``td`` or ``th``.
        caption: HTML.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    lines = [f"<tr>{''.join(row)}</tr>\n" for row in rows]
    body, foot = lines[: len(lines) - footer], lines[len(lines) - footer :]
    return (
        f'<div class="scroll"><table class="sortable">\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{''.join(body)}</tbody>\n<tfoot>\n{''.join(foot)}</tfoot>\n</table></div>\n"
    )
