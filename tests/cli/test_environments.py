"""Home folders, data that moved, and consoles that are not UTF-8."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from medups.data.phantom import write_phantoms
from tests.cli.commands import TINY, medups


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with phantoms in ``data``; the current folder is another one."""
    folder = tmp_path / "home"
    list(write_phantoms(folder / "data", 4, seed=5, size=64, slices=16))
    monkeypatch.setenv("HOME", str(folder))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


@pytest.mark.parametrize("quotes", ["", "'"], ids=["as it is", "quoted"])
def test_a_tilde_is_the_home_folder(home, quotes):
    data, output = f"data.root={quotes}~/data{quotes}", f"output={quotes}~/run{quotes}"
    assert medups("train", *TINY, data, output, "data.cache='~/cache'", "training.steps=1") == 0
    assert (home / "run" / "bundle").is_dir()
    assert (home / "cache").is_dir()
    model, masks = ["--model", "~/run/bundle"], ["--output", "~/masks"]
    assert medups("predict", *model, "--input", "~/data/img", "--cases", "0004", *masks) == 0
    scored = ["--pred", "~/masks", "--label", "~/data/label", "--label-labels", "btcv13", "--output", "~/scores"]
    assert medups("evaluate", *scored) == 0
    assert (home / "scores" / "cases.csv").is_file()
    assert list((home.parent / "here").iterdir()) == []


def test_a_run_resumes_after_its_data_moved(home, capsys):
    recipe = [*TINY, "output='~/run'", "data.cache='~/cache'", "training.workers=0"]
    assert medups("train", *recipe, "data.root=~/data") == 0
    (home / "run" / "bundle" / "models" / "model.pt").unlink()  # as if it had been interrupted at its end
    shutil.move(home / "data", home / "there")
    capsys.readouterr()
    assert medups("train", *recipe, "data.root=~/there") == 0
    assert "resum" in capsys.readouterr().out
    assert (home / "run" / "bundle" / "models" / "model.pt").is_file()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_console_that_is_not_utf8(phantoms, tmp_path, encoding):
    """Tables hold dashes and boxes, and a folder may have any name: what cannot be shown is replaced."""
    labels = tmp_path / "Gefäße"
    shutil.copytree(phantoms / "label", labels)
    arguments = ["--pred", labels, "--label", labels, "--pred-labels", "btcv13", "--label-labels", "btcv13"]
    done = subprocess.run(
        [sys.executable, "-m", "medups.cli.main", "evaluate", *map(str, arguments), "--output", str(tmp_path / "out")],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"spleen" in done.stdout
