"""Exported networks give the masks of the original in other runtimes; bundles say what they are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from medups.bundle.model import load_bundle
from tests.cli.commands import medups


def test_info(run, capsys):
    folder, _ = run
    assert medups("info", folder / "bundle") == 0
    said = capsys.readouterr().out
    parameters = sum(p.numel() for p in load_bundle(folder / "bundle").network.parameters())
    for text in (
        f"TransUNet with resfu, {parameters:,} parameters",
        "CT, 64 x 64",
        "5 liver",
        "2 train, 1 val, 1 test",
    ):
        assert text in said
    assert medups("info", folder) == 2


def test_a_torch_program(run, tmp_path, capsys):
    folder, _ = run
    assert (
        medups("export", "--model", folder / "bundle", "--format", "torch-export", "--output", tmp_path / "net.pt2")
        == 0
    )
    assert "[batch, 1, 64, 64] -> logits" in capsys.readouterr().out
    program = torch.export.load(tmp_path / "net.pt2").module()
    network = load_bundle(folder / "bundle").network
    with torch.no_grad():
        for batch in (1, 3):
            image = torch.rand(batch, 1, 64, 64)
            torch.testing.assert_close(program(image), network(image), rtol=1e-3, atol=1e-3)
    assert medups("export", "--model", folder / "bundle", "--output", tmp_path / "net.pt2") == 2
    assert "ends in .onnx" in capsys.readouterr().err


@pytest.mark.full
def test_onnx_runtime(run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, _ = run
    assert medups("export", "--model", folder / "bundle", "--output", tmp_path / "net.onnx") == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    network = load_bundle(folder / "bundle").network
    for batch in (1, 5):
        image = torch.rand(batch, 1, 64, 64)
        with torch.no_grad():
            expected = network(image).numpy()
        np.testing.assert_allclose(session.run(None, {"image": image.numpy()})[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.full
def test_monai_verifies_input_and_output(run):
    """MONAI's own check of the metadata against the network."""
    configs = run[0] / "bundle" / "configs"
    done = subprocess.run(
        [
            sys.executable, "-m", "monai.bundle", "verify_net_in_out", "network_def",
            "--meta_file", str(configs / "metadata.json"), "--config_file", str(configs / "inference.json"),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "verified with no error" in done.stdout + done.stderr
