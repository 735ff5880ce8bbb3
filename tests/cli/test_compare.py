"""``medups compare``."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from medups.evaluation import Evaluation
from medups.metrics import OrganScore
from medups.report.tables import write_results
from tests.cli.commands import medups

CASES = [f"{number:04d}" for number in range(12)]


def evaluated(folder, dice, missed=(), protocol="physical"):
    """An evaluation of two organs; the spleen of the ``missed`` cases has Dice 0 and no distance."""
    cases = {}
    for name, value in zip(CASES, dice, strict=True):
        liver = OrganScore("scored", value, 10 * (1 - value), 1.0, 1.0, surface_dice=value / 2)
        cases[name] = {"liver": liver, "spleen": OrganScore("missed", 0.0, None, 0.0, 1.0, surface_dice=0.0)
                       if name in missed else liver}  # fmt: skip
    write_results(folder, Evaluation(protocol, ["liver", "spleen"], cases))
    return folder


@pytest.fixture
def dice():
    return np.linspace(0.5, 0.9, 12)


def test_a_difference_that_is_shown_and_one_that_is_not(tmp_path, dice, capsys, rng):
    reference = evaluated(tmp_path / "reference", dice)
    better = evaluated(tmp_path / "better", dice + 0.05)
    noise = evaluated(tmp_path / "noise", dice + rng.normal(0.001, 0.02, 12))
    assert medups("compare", reference, better, noise, "--output", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "better against reference: Dice +0.050 (+0.050 to +0.050): better, p = 0.00" in said
    assert "p = <" not in said
    assert "better against reference: HD95, mm -0.50 (-0.50 to -0.50): better" in said
    assert "noise against reference: Dice" in said
    assert "no difference shown; about" in said
    assert "in about 88 %" in said
    assert "One training run of each" in said
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["differences"]["dice"]["better"]["mean"]["mean"] == pytest.approx(0.05)
    rows = list(csv.reader((tmp_path / "out" / "differences.csv").open(encoding="utf-8")))
    assert rows[1][:4] == ["better", "Dice", "12", "+0.050"]
    assert (tmp_path / "out" / "means.tex").read_text().count(r"\\") == 4
    assert "| better | Dice | 12 | +0.050 |" in (tmp_path / "out" / "comparison.md").read_text()


def test_a_mean_against_most_cases(tmp_path, capsys, monkeypatch):
    """One case is much worse and nineteen are better, which the test of ranks shows."""
    monkeypatch.setattr("tests.cli.test_compare.CASES", [f"{number:04d}" for number in range(20)])
    reference = evaluated(tmp_path / "reference", np.linspace(0.6, 0.9, 20))
    dice = np.linspace(0.6, 0.9, 20) + np.linspace(0.01, 0.03, 20)
    dice[19] = 0.1
    assert medups("compare", reference, evaluated(tmp_path / "other", dice)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "other against reference: Dice -0.0" in said
    assert "better in most cases, p = 0.0" in said
    assert "but a few large differences turn the mean the other way" in said
    assert ": worse" not in said


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_and_a_folder_of_that_name(tmp_path, dice, capsys, order):
    one, other = (evaluated(tmp_path / name / "linear", dice) for name in ("a", "b"))
    assert medups("compare", *[one, f"linear={other}"][::order]) == 2
    assert "two folders have the name linear; pass NAME=FOLDER for both" in capsys.readouterr().err


def test_few_cases(tmp_path, dice, capsys, monkeypatch):
    """No interval for two cases, and no claim of a test."""
    monkeypatch.setattr("tests.cli.test_compare.CASES", CASES[:2])
    folders = [evaluated(tmp_path / name, dice[:2] + shift) for name, shift in (("a", 0), ("b", 0.1))]
    assert medups("compare", *folders) == 0
    said = capsys.readouterr().out
    assert "b against a: Dice +0.100: no difference shown." in said
    assert "No interval is given for fewer than 3 cases" in said
    assert "With 2 cases, no test can reach p < 0.05 here; evaluate at least 7." in said


def test_runs_of_one_model(tmp_path, dice, capsys):
    folders = [f"linear={evaluated(tmp_path / 'a', dice)}", f"linear={evaluated(tmp_path / 'b', dice + 0.02)}"]
    assert medups("compare", *folders, f"resfu={evaluated(tmp_path / 'c', dice)}") == 0
    said = capsys.readouterr().out
    assert "0.710 ± 0.014" in said
    assert "resfu against linear: Dice -0.010" in said
    assert "Intervals resample training runs and cases" in said


def test_a_missed_organ_counts_for_dice_and_not_for_distances(tmp_path, dice, capsys):
    reference = evaluated(tmp_path / "reference", dice)
    assert medups("compare", reference, evaluated(tmp_path / "other", dice, missed=CASES[:2])) == 0
    said = capsys.readouterr().out
    assert f"other against reference: Dice {-sum(dice[:2]) / 24:+.3f}" in said
    assert "HD95, mm leaves out 2 organs" in said


def test_bad_folders(tmp_path, dice, capsys):
    good, other = evaluated(tmp_path / "x" / "run", dice), evaluated(tmp_path / "y" / "run", dice)
    assert medups("compare", good, good) == 2
    assert "was given twice" in capsys.readouterr().err
    assert medups("compare", good, other) == 2
    assert "pass NAME=" in capsys.readouterr().err
    (other / "cases.csv").unlink()
    assert medups("compare", good, f"other={other}") == 2
    assert "cases.csv: cannot be read" in capsys.readouterr().err
    (other / "cases.csv").write_text("case,organ,dice\n0000,liver,much\n")
    assert medups("compare", good, f"other={other}") == 2
    assert "does not fit" in capsys.readouterr().err
    (other / "cases.csv").write_text("case,organ,dice\n0000,liver,0.5\n")
    assert medups("compare", good, f"other={other}") == 2
    assert "expected 12 cases with 2 organs each, found 1 rows" in capsys.readouterr().err
    (other / "summary.json").write_text("[]")
    assert medups("compare", good, f"other={other}") == 2
    assert "expected the summary of an evaluation" in capsys.readouterr().err


def test_evaluations_by_nnunet(tmp_path, capsys):
    """Case by case, an organ in neither mask left out."""
    for name, shift in (("a", 0.0), ("b", 0.1)):
        cases = [
            {
                "metrics": {"1": {"Dice": 0.5 + number / 20 + shift}, "2": {"Dice": float("nan")}},
                "prediction_file": f"/somewhere/case_{number}.nii.gz",
            }
            for number in range(6)
        ]
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"metric_per_case": cases, "mean": {}}))
    assert medups("compare", tmp_path / "a", tmp_path / "b") == 0
    said = capsys.readouterr().out
    assert "protocol nnunet, 6 cases" in said
    assert "b against a: Dice +0.100" in said
    evaluated(tmp_path / "ours", np.linspace(0.5, 0.9, 12))
    assert medups("compare", tmp_path / "a", tmp_path / "ours") == 2
    assert "the protocol differs" in capsys.readouterr().err


def test_published_numbers_stand_beside_the_own_ones(tmp_path, dice, capsys):
    folder = evaluated(tmp_path / "ours", dice, protocol="synapse")
    assert medups("compare", folder, "--published", "synapse", "--output", tmp_path / "out") == 0
    rows = list(csv.reader((tmp_path / "out" / "means.csv").open(encoding="utf-8")))
    assert rows[0] == ["", "Dice", "HD95, voxel"]
    assert ["TransUNet (published, arXiv 2102.04306)", "0.775", "31.69"] in rows
    assert "Published: 12 test cases" in capsys.readouterr().out
    physical = evaluated(tmp_path / "physical", dice)
    assert medups("compare", physical, "--published", "synapse") == 2
    assert "evaluate with --protocol synapse" in capsys.readouterr().err
    assert medups("compare", folder, "--published", "nothing") == 2
    assert "choose from synapse" in capsys.readouterr().err
