"""The page of a check without labels: a picture of every case, the most implausible first."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol
from urllib.parse import quote

from medups.metrics.plausibility import Finding
from medups.report.page.document import document


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
    return document(title, "".join(map(_section, cases)))


def _section(case: Checked) -> str:
    name = escape(case.case)
    if case.error:
        return f"<section><h2>{name}</h2>\n<p>Cannot be read: {escape(case.error)}</p></section>\n"
    lines = [f"<li>{escape(one.organ.replace('_', ' '))}: {escape(one.text)}</li>" for one in case.findings]
    said = f"<ul>{''.join(lines)}</ul>" if lines else "<p>Nothing implausible.</p>"
    picture = f'<img src="pictures/{escape(quote(case.case))}.png" alt="mask of {name} in three planes" loading="lazy">'
    return f"<section><h2>{name}</h2>\n{said}\n{picture}</section>\n"
