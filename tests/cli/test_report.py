"""``medups report``: training runs on one page."""

from __future__ import annotations

import csv
import json
import re

import pytest
from torch.utils.tensorboard import SummaryWriter

from medups.report.page.curves import curves_svg
from medups.report.page.runs import smoothed
from medups.workflows.report import report
from tests.cli.commands import medups


def trained(folder, upsampler, options, seed, dice, seconds=(0, 60, 120)):
    """A run with three losses and two validations; each event has its own time."""
    settings = {
        "name": f"{upsampler} {seed}", "seed": seed, "output": str(folder), "network": {"name": "unet_3d", "size": 64},
        "upsampler": {"name": upsampler, "options": options}, "training": {"steps": 30},
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(settings))
    with SummaryWriter(str(folder)) as board:
        for step, at in zip((10, 20, 30), seconds, strict=True):
            board.add_scalar("train/loss", 1 / step, step, walltime=1000 + at)
        for step, at, score in ((20, seconds[1], dice - 0.1), (30, seconds[2], dice)):
            board.add_scalar("val/dice", score, step, walltime=1000 + at)


def test_a_sweep(tmp_path, capsys):
    """Settings that differ; options of an upsampler only if its own runs differ; pauses are not training."""
    trained(tmp_path / "sweep" / "a", "linear", {}, 0, 0.8)
    trained(tmp_path / "sweep" / "b", "linear", {}, 1, 0.9, seconds=(0, 60, 100_060))
    trained(tmp_path / "sweep" / "c", "resfu", {"embed_channels": 8, "groups": 4}, 0, 0.7)
    trained(tmp_path / "sweep" / "d", "resfu", {"embed_channels": 32, "groups": 4}, 0, 0.6)
    assert medups("report", tmp_path / "sweep", "--output", tmp_path / "out") == 0
    assert "4 runs" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "runs.csv").open(encoding="utf-8")))
    assert list(rows[0]) == [
        "run", "upsampler.name", "upsampler.options.embed_channels", "seed", "steps", "hours", "validation_dice",
    ]  # fmt: skip
    assert [row["run"] for row in rows] == ["a", "b", "c", "d"]
    assert [float(row["validation_dice"]) for row in rows] == pytest.approx([0.8, 0.9, 0.7, 0.6])
    assert [float(row["hours"]) for row in rows] == pytest.approx(
        [120 / 3600, 60 / 3600, 120 / 3600, 120 / 3600], abs=1e-4
    )
    page = (tmp_path / "out" / "runs.html").read_text(encoding="utf-8")
    row = re.search(r'<th scope="row">linear</th>(.*?)</tr>', page)[1]
    assert re.findall(r"<td>(.*?)</td>", row)[:3] == ["2", "0.850", "0.071"]
    assert '<th scope="row">resfu, embed_channels 32</th>' in page
    assert page.count("<polyline") == 8  # two curves for each run
    assert "http" not in page.replace("http://www.w3.org", "")


def test_what_is_no_run(tmp_path, capsys):
    assert medups("report", tmp_path, "--output", tmp_path / "out") == 2
    assert "no training runs in or below it" in capsys.readouterr().err
    trained(tmp_path / "a", "linear", {}, 0, 0.8)
    (tmp_path / "a" / "config.json").write_text("[]")
    assert medups("report", tmp_path, "--output", tmp_path / "out") == 2
    assert "expected the settings of a run" in capsys.readouterr().err
    (tmp_path / "a" / "config.json").write_text("{}")
    assert [run.group for run in report([tmp_path], tmp_path / "out")] == ["all runs"]


def test_a_run_of_medups_itself(run, tmp_path):
    folder, _ = run
    found = report([folder], tmp_path / "out")
    assert [one.name for one in found] == [folder.name]
    assert found[0].steps == 6
    assert found[0].score == pytest.approx(max(value for _, value in found[0].dice))


def test_curves_by_hand():
    """The corners of the axes: the first point at the lower left, the last at the upper right."""
    svg = curves_svg([("run", "#ff0000", [(0, 1), (5, 2), (10, 3)])], "loss", "step")
    assert re.search(r'points="([^"]+)"', svg)[1] == "56.0,316.0 380.0,172.0 704.0,28.0"
    assert curves_svg([], "loss", "step") == ""
    assert smoothed([(step, step * 2.0) for step in range(1, 41)])[:2] == [(1.5, 3.0), (3.5, 7.0)]
    assert smoothed([]) == []
