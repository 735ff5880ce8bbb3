"""The commands end to end: their files, messages and exit codes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from tests.cli.commands import TINY, medups
from tests.dicom_series import write_series
from tests.scans import write_nifti


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


def test_check_reports_what_prediction_would(tmp_path, capsys):
    """A good scan, a warning, a refusal by its intensities, one by its header, a localizer and a dangling link."""
    rng = np.random.default_rng(0)
    data = rng.integers(-1000, 1000, (6, 5, 4)).astype(np.int16)
    write_nifti(tmp_path / "in" / "good.nii.gz", data, np.diag([2.0, 2, 3, 1]))
    assert medups("check", tmp_path / "in") == 0
    assert "good: good: 4 x 5 x 6 voxels of 3 x 2 x 2 mm, intensities" in capsys.readouterr().out
    uncoded = nib.Nifti1Image(data, None)
    nib.save(uncoded, tmp_path / "in" / "uncoded.nii")
    write_nifti(tmp_path / "in" / "mr.nii.gz", data + 1000, np.eye(4))
    write_series(tmp_path / "in" / "series", missing=(2,))
    write_series(tmp_path / "in" / "scout", tags={"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"})
    (tmp_path / "in" / "gone.nii.gz").symlink_to("/nowhere")
    assert medups("check", tmp_path / "in") == 2
    captured = capsys.readouterr()
    assert "3 would be refused, 4 scans found" in captured.err
    for line in ("warning: uncoded", "neither sform nor qform", "refused: mr", "refused: series", "slices are missing",
                 "a localizer", "gone.nii.gz: a link to a missing file"):  # fmt: skip
        assert line in captured.out
    assert medups("check", tmp_path / "in" / "mr.nii.gz", "--modality", "MRI") == 0
    assert medups("check", tmp_path / "in" / "series", "--resample") == 0
    assert "slices are missing" in capsys.readouterr().out
    assert medups("check", tmp_path / "nowhere") == 2
