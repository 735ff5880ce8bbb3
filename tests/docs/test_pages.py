"""Examples in the documentation run unchanged."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from medups.cli.main import _parser, main
from medups.settings.compose import compose

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


def test_benchmarks_are_those_of_their_files(monkeypatch):
    """If this fails, run scripts/docs/benchmark_page.py."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "docs"))
    module = importlib.import_module("benchmark_page")
    runs = module.measured()
    assert "\n".join(module.answer(runs)) in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "\n".join(module.tables(runs)) in (ROOT / "docs" / "benchmark-tables.md").read_text(encoding="utf-8")


def commands_of(page):
    """The commands of a page's code blocks, without comments and continued lines."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line[4:] for line in text.splitlines() if line.startswith("    medups ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES[:-1], ids=[page.name for page in PAGES[:-1]])  # CONTRIBUTING shows paths of code
def test_commands_exist_with_their_options(page):
    """Every command of the documentation is accepted by the parser; ``...`` stands for what the reader adds."""
    for words in commands_of(page):
        options, rest = _parser().parse_known_args(words)
        assert callable(options.run)
        assert not [word for word in rest if word.startswith("-")], words


def test_the_first_page_runs(tmp_path, monkeypatch):
    """Its commands from top to bottom, with a shorter training, leave what it shows."""
    monkeypatch.chdir(tmp_path)
    for words in commands_of(ROOT / "docs" / "index.md"):
        shorter = ["training.steps=4", "training.batch_size=2", "training.workers=0"] if words[0] == "train" else []
        assert main([*words, *shorter]) == 0
    for name in ("run/bundle/models/model.pt", "masks/img0004.preview.png", "masks/organs.csv", "scores/report.html"):
        assert (tmp_path / name).is_file()


def test_settings_in_the_documentation_exist():
    """Overrides of complete training commands are composed; those with ``...`` are not complete."""
    checked = 0
    for page in PAGES[:-1]:
        for words in commands_of(page):
            overrides = [word for word in words[1:] if "=" in word and not word.startswith("-")]
            if words[0] == "train" and not {"...", "-m"} & set(words) and "..." not in " ".join(words):
                compose([*overrides, "output=x"], complete=False)
                checked += 1
    assert checked > 15


def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
