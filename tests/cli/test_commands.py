"""The commands end to end: their files, messages and exit codes."""

from __future__ import annotations

import pytest

from tests.cli.commands import TINY, medups


def test_baseline_writes_masks_of_the_test_cases(run, tmp_path):
    _, recipe = run
    assert medups("baseline", *recipe[:-1], f"output={tmp_path / 'masks'}") == 0
    assert [path.name for path in (tmp_path / "masks").glob("*.nii.gz")] == ["0004.nii.gz"]
    assert medups("baseline", *recipe[:-1], "data.split.test=[]", f"output={tmp_path / 'none'}") == 2
    assert not (tmp_path / "none").exists()


def test_arguments_after_an_option(phantoms, tmp_path, capsys):
    recipe = [*TINY, f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", f"output={tmp_path / 'run'}"]
    assert medups("train", recipe[0], "--profile", *recipe[1:], "seed=-1") == 2
    assert "seed must be" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        medups("train", "data=phantom", "--profil", "--nonsense", "seed=1")
    with pytest.raises(SystemExit):
        medups("compare", tmp_path, "--nonsense")


def test_phantom_and_usage(tmp_path, capsys):
    assert medups("phantom", tmp_path / "p", "--cases", 1, "--size", 32, "--slices", 8) == 0
    assert medups("phantom", tmp_path / "q", "--cases", 0) == 2
    assert not (tmp_path / "q").exists()
    with pytest.raises(SystemExit) as stop:
        medups("predict")
    assert stop.value.code == 2
