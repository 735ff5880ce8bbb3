"""Examples in the documentation run unchanged."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_examples_run(page):
    """The Python blocks of a page, from top to bottom, in one namespace; the blocks contain their own assertions."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)


def test_links_resolve():
    for page in (*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.full
@pytest.mark.parametrize(
    ("page", "script", "table"), [("upsamplers", "cost", "cost_table"), ("networks", "network_page", "swap_table")]
)
def test_tables_match_their_scripts(page, script, table, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "docs"))
    table_text = "\n".join(getattr(importlib.import_module(script), table)())
    assert table_text in (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
