"""Who the patient is stays in the DICOM files, unless DICOM masks are asked for; nothing talks to the network."""

from __future__ import annotations

import gzip
import zipfile

import numpy as np
import pydicom
import pytest

from tests.cli.commands import medups
from tests.dicom_series import write_series

IDENTIFIERS = {
    "0010|0010": "SECRET^JANE", "0010|0020": "MRN4711", "0010|0030": "19700102", "0008|0050": "ACC998877",
    "0008|0080": "ST ELSEWHERE", "0008|0090": "REFERRER^ROB", "0010|1040": "12 HIDDEN LANE", "0008|0020": "20260103",
    "0020|0010": "STUDY5566",
}  # fmt: skip
WORDS = (
    "SECRET",
    "JANE",
    "MRN4711",
    "19700102",
    "ACC998877",
    "ELSEWHERE",
    "REFERRER",
    "HIDDEN",
    "20260103",
    "STUDY5566",
)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inbox") / "series"
    rng = np.random.default_rng(0)
    write_series(folder, voxels=rng.integers(-900, 900, (6, 64, 64)).astype(np.int16), tags=IDENTIFIERS)
    first = pydicom.dcmread(next(folder.glob("*.dcm")))
    assert str(first.PatientName) == "SECRET^JANE"
    return folder


def contents(folder):
    """Every file below a folder, unpacked, and its name."""
    for path in folder.rglob("*"):
        yield str(path.relative_to(folder)).encode()
        if path.is_file():
            data = path.read_bytes()
            yield gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from (archive.read(name) for name in archive.namelist())


def test_identifiers_stay_in_the_scan(run, series, tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    masks = tmp_path / "masks"
    command = ["predict", "--model", run[0] / "bundle", "--input", series, "--output", masks, "--device", "cpu"]
    assert medups(*command, "--formats", "nifti,nrrd", "--preview", "--uncertainty") == 0
    assert medups("check", series) == 0
    mask = next(masks.glob("*.nii.gz"))
    assert medups("qc", masks, "--output", tmp_path / "qc") == 0
    arguments = ["--pred", mask, "--label", mask, "--image", series, "--output", tmp_path / "evaluation"]
    assert medups("evaluate", *arguments) == 0
    shown = capsys.readouterr()
    everything = [shown.out.encode(), shown.err.encode(), *contents(tmp_path)]
    assert len(everything) > 20
    leaks = {word for word in WORDS for content in everything if word.encode() in content}
    assert not leaks


def test_dicom_masks_name_the_patient(run, series, tmp_path):
    """Those that were asked for belong to the study, so that a clinic can file them."""
    mask = tmp_path / "mask.rtstruct.dcm"
    command = ["predict", "--model", run[0] / "bundle", "--input", series, "--output", mask, "--device", "cpu"]
    code = medups(*command)
    if code == 2 and not mask.exists():
        pytest.skip("the network found nothing in the random scan")
    assert str(pydicom.dcmread(mask).PatientName) == "SECRET^JANE"
