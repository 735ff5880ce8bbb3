"""The scripts that measure: the results' table, the studies, and the command for a GPU."""

from __future__ import annotations

import csv
import importlib
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.docs.test_pages import ROOT

STUDIES = ("alignment", "similarity", "mosaic", "consistency", "offsets", "noguide")


@pytest.fixture
def script(monkeypatch):
    """Import a script by its folder below scripts/ and its name."""

    def load(folder, name):
        monkeypatch.syspath_prepend(str(ROOT / "scripts" / folder))
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    return load


def test_runs_are_ordered_by_seed_and_finished_ones_are_kept(script, tmp_path):
    results = script(".", "results")
    cells = list(results.cells(["demo", "long"], 2))
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert len({cell.name for cell in cells}) == len(cells) == 2 * (2 * 5 + 7)
    table = tmp_path / "results.csv"
    assert results.finished(table) == set()
    row = ",".join([*cells[0].key, "case", "0017", "0.9", "1.5", "0.8", "0.7"]) + "\r\n"
    results.add_rows(table, row)
    results.add_rows(table, row.replace("0017", "0018"))
    assert results.finished(table) == {cells[0].key}
    with table.open(encoding="utf-8", newline="") as file:
        assert [values["name"] for values in csv.DictReader(file)] == ["0017", "0018"]
    assert not list(tmp_path.glob("*.tmp"))


def test_paired_differences_by_hand(script, tmp_path):
    """Only the seed that both upsamplers have counts: 0.8 - 0.7 and 0.7 - 0.4."""
    page = script("docs", "results_page")
    rows = [("linear", 0, 0.7, 0.4), ("linear", 1, 0.1, 0.1), ("resfu", 0, 0.8, 0.7)]
    lines = ["network,upsampler,steps,seed,kind,name,dice,hd95,surface_dice,border_dice"]
    for upsampler, seed, *cases in rows:
        lines += [
            f"net,{upsampler},10,{seed},case,{name},{value},,1,1" for name, value in zip("ab", cases, strict=True)
        ]
    (tmp_path / "results.csv").write_text("\n".join(lines), encoding="utf-8")
    table = page.read(tmp_path / "results.csv", "case")
    own, base = page.pairs(table, ("net", "10", "resfu"), "dice")
    assert (own - base)[0] == pytest.approx([0.1, 0.3])
    assert page.difference(table, ("net", "10", "resfu"), "dice") == "+0.200"  # two cases have no interval
    assert page.difference(table, ("net", "10", "resfu"), "hd95") == ""


def test_page_of_results_is_up_to_date(script):
    """If this fails, run scripts/docs/results_page.py."""
    page = script("docs", "results_page")
    table = ROOT / "docs" / "results.csv"
    text = "\n".join(page.sections(page.read(table, "case"), page.read(table, "organ")))
    assert text in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_scenes_and_their_errors(script):
    scenes = script("studies", "scenes")
    drawn = scenes.scenes(4, 0)
    torch.testing.assert_close(drawn.share.sum(1), torch.ones(4, 64, 64))
    assert 0.03 < drawn.border().float().mean() < 0.5
    assert drawn.deep(4).shape == (4, 16, 16, 16)

    class Perfect(nn.Module):
        def forward(self, deep, image):
            return scenes.scenes(32, 7).share + 0.25

    assert scenes.errors(Perfect(), 4) == pytest.approx({"border": 0.25, "inside": 0.25})


@pytest.mark.full
@pytest.mark.parametrize("name", STUDIES)
def test_studies_run(script, name, monkeypatch):
    scenes, study = script("studies", "scenes"), script("studies", name)
    monkeypatch.setattr(study, "STEPS", 2)
    variants = getattr(study, "VARIANTS", getattr(study, "OPTIONS", None))
    names = [f"clean: {switch}" for switch in study.SWITCHES] if name == "alignment" else variants
    for variant in ("fine x4", "coarse x4") if name == "mosaic" else names:
        values = study.measure(variant, 0)
        assert all(0 <= value < math.inf for value in values.values())
    assert scenes.SIZE == 64


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_its_results_and_figure(name):
    results = json.loads((ROOT / "docs" / "studies" / f"{name}.json").read_text(encoding="utf-8"))
    assert all(len(values) > 1 for variant in results.values() for values in variant.values())
    assert f"studies/{name}.png" in (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")


@pytest.mark.full
@pytest.mark.parametrize("what", ["measure", "train"])
def test_the_command_for_a_gpu_tests_itself_on_a_cpu(what, tmp_path):
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    command = [str(ROOT / "scripts" / "bench" / "gpu.sh"), what, str(tmp_path)]
    for _ in range(2):
        subprocess.run(command, check=True, env=environment)
    if what == "measure":
        records = json.loads((tmp_path / "upsamplers-series-28.json").read_text())["records"]
        assert {record["method"] for record in records} == {"linear", "resfu", "freqfusion", "convolution"}
        assert json.loads((tmp_path / "first-call.json").read_text())["first_call"]
    else:
        assert (tmp_path / "results.csv").read_text().count("transunet_tiny,linear,2,0") == 24
