"""The page of a check without labels: a picture of every case, the most implausible first."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Protocol
from urllib.parse import quote

from medups.metrics.plausibility import Finding


class Checked(Protocol):
    """What the page shows of a case."""

    @property
    def case(self) -> str: ...
    @property
    def findings(self) -> list[Finding]: ...
    @property
    def error(self) -> str: ...


def quality_page(cases: Sequence[Checked]) -> str:
    """Return HTML; pictures are in ``pictures/CASE.png`` beside it."""
    flagged = sum(bool(case.findings or case.error) for case in cases)
    title = f"{flagged} of {len(cases)} masks to look at"
    style = files("medups.report.page").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{title}</title>\n<style>{style}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f"{''.join(map(_section, cases))}</body>\n</html>\n"
    )


def _section(case: Checked) -> str:
    name = escape(case.case)
    if case.error:
        return f"<section><h2>{name}</h2>\n<p>Cannot be read: {escape(case.error)}</p></section>\n"
    lines = [f"<li>{escape(one.organ.replace('_', ' '))}: {escape(one.text)}</li>" for one in case.findings]
    said = f"<ul>{''.join(lines)}</ul>" if lines else "<p>Nothing implausible.</p>"
    picture = f'<img src="pictures/{escape(quote(case.case))}.png" alt="mask of {name} in three planes" loading="lazy">'
    return f"<section><h2>{name}</h2>\n{said}\n{picture}</section>\n"
