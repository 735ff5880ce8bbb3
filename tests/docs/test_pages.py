"""Examples in the documentation run unchanged."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


EXAMPLES = [page for page in PAGES if python_blocks(page)]


@pytest.mark.parametrize("page", EXAMPLES, ids=[page.name for page in EXAMPLES])
def test_examples_run(page):
    """The Python blocks of a page, from top to bottom, in one namespace; they hold their own assertions."""
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in python_blocks(page):
        exec(compile(block, str(page), "exec"), namespace)


def test_pages_for_python_have_examples():
    assert {"README.md", "networks.md", "python.md", "upsamplers.md"} <= {page.name for page in EXAMPLES}


def test_links_resolve():
    for page in PAGES:
        for link in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("table", ["choice_table", "setting_tables"])
def test_the_page_of_settings_is_up_to_date(table, monkeypatch):
    """If this fails, run scripts/docs/configuration_page.py."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "docs"))
    lines = "\n".join(getattr(importlib.import_module("configuration_page"), table)())
    assert lines in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.full
@pytest.mark.parametrize(
    ("page", "script", "table"),
    [
        ("upsamplers", "cost", "cost_table"),
        ("networks", "network_page", "swap_table"),
        ("networks", "network_page", "picture_table"),
    ],
)
def test_tables_match_their_scripts(page, script, table, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "docs"))
    table_text = "\n".join(getattr(importlib.import_module(script), table)())
    assert table_text in (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
