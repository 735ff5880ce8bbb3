"""Processes that a launcher started share a folder of scans: no case twice, none left out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

CLI = [sys.executable, "-m", "medups.cli.main", "predict"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MEDUPS_TRACEBACK": "1"}


@pytest.fixture
def command(run, phantoms, tmp_path):
    """Nine scans, one of them damaged."""
    for copy in ("a", "b"):
        shutil.copytree(phantoms / "img", tmp_path / "in" / copy)
    (tmp_path / "in" / "bad.nii.gz").write_bytes(b"nothing")
    folder, _ = run
    return ["--model", str(folder / "bundle"), "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]


def check(tmp_path, outputs):
    """Every scan was done once, and the manifest of all has the failure."""
    made = sorted(path.name.removesuffix(".nii.gz") for path in (tmp_path / "out").glob("*.nii.gz"))
    assert made == [f"{copy}_img000{number}" for copy in "ab" for number in (1, 2, 3, 4)]
    said = [line for text in outputs for line in text.splitlines() if line.endswith(".nii.gz")]
    assert sorted(line.rpartition("/")[2].removesuffix(".nii.gz") for line in said) == made
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [record["case"] for record in manifest["cases"]] == made
    assert len(manifest["failed"]) == 1
    assert "bad.nii.gz" in manifest["failed"][0]


SLOW_SUMMARY = """
import sys, time
from medups.cli.main import main
from medups.workflows import prediction as predict
write = predict.write_summary
def slow(*parts):
    time.sleep(3)
    write(*parts)
predict.write_summary = slow
sys.exit(main(["predict", *sys.argv[1:]]))
"""


def test_torchrun(command, tmp_path):
    """The launcher stops all processes when one exits with an error, which may not happen before the summary."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW_SUMMARY)
    done = subprocess.run(
        [*TORCHRUN, str(script), *command], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 0
    assert "bad.nii.gz" in done.stderr
    check(tmp_path, [done.stdout])


def test_srun(command, tmp_path):
    """Two tasks with the variables that SLURM sets; the first one holds the store and waits for the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "SLURM_NTASKS": "2", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "predict", "SLURM_NODELIST": "localhost",
        "SLURM_NODEID": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    tasks = [
        subprocess.Popen(
            [*CLI, *command], env={**ENVIRONMENT, **common, "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    results = [task.communicate(timeout=300) for task in tasks]
    assert sorted(task.returncode for task in tasks) == [0, 2], results
    check(tmp_path, [output for output, _ in results])


def test_cases_of_a_killed_process_are_redone(command, tmp_path):
    """At whatever moment it dies, no mask is half-written, and the next start does the rest."""
    killed = subprocess.Popen([*CLI, *command], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    while not any((tmp_path / "out").glob("*.nii.gz")):
        assert killed.poll() is None, "the command ended without a mask"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "records").glob("*.json")}
    done = subprocess.run([*CLI, *command], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    if before:
        assert f"kept {len(before)} existing mask" in done.stdout
    made = [path.name for path in (tmp_path / "out").glob("*.nii.gz")]
    assert len(made) == 8
