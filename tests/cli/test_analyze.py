"""``medups analyze``."""

from __future__ import annotations

import json

import pytest
import torch

from medups.bundle import load_bundle, write_bundle
from medups.bundle.model import define, make_model
from medups.data.labels import label_set
from medups.workflows.analyze import analyze
from tests.cli.commands import medups


def arguments(phantoms, bundle, output):
    files = ["--input", phantoms / "img" / "img0001.nii.gz", "--label", phantoms / "label" / "label0001.nii.gz"]
    return ["analyze", "--model", bundle, *files, "--label-labels", "btcv13", "--output", output]


def test_the_steps_of_a_decoder(run, phantoms, tmp_path, capsys):
    """One row per upsampler; the last one doubles its input."""
    bundle = run[0] / "bundle"
    assert medups(*arguments(phantoms, bundle, tmp_path)) == 0
    steps = json.loads((tmp_path / "features.json").read_text())
    assert [step["kind"] for step in steps] == ["ReSFU"] * 4
    assert all(-1 <= value <= 1 for step in steps for value in step["similarity"])
    assert all(sum(shares) == pytest.approx(1) for step in steps for shares in step["spectrum"])
    assert max(steps[-1]["frequency"][0]) == pytest.approx(0.25)  # of an input half as wide
    assert (tmp_path / "features.png").read_bytes().startswith(b"\x89PNG")
    assert "decoder.steps.0.upsampler (ReSFU): similarity within classes" in capsys.readouterr().out
    assert medups(*arguments(phantoms, bundle, tmp_path / "x"), "--layers", "nowhere") == 2
    assert "nowhere: no such layer" in capsys.readouterr().err


def test_a_3d_network_and_a_chosen_layer(phantoms, tmp_path):
    """Interpolation passes few high frequencies."""
    network = {
        "_target_": "medups.networks.with_upsampler", "upsampler": "linear", "options": {},
        "network": {
            "_target_": "monai.networks.nets.UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 9,
            "channels": [4, 8], "strides": [2],
        },
    }  # fmt: skip
    scale = {"_target_": "monai.transforms.ScaleIntensityRanged", "keys": ["image"], "a_min": -125, "a_max": 275}
    inferer = {"_target_": "medups.inference.WindowInferer", "roi_size": [24, 32, 32]}  # taller than the scan
    model = make_model(
        define(network, [scale], inferer, label_set("synapse8"), None, {"train": [], "val": [], "test": []}), "test"
    )
    write_bundle(tmp_path / "bundle", model, model.network.state_dict(), "a test")
    files = phantoms / "img" / "img0001.nii.gz", phantoms / "label" / "label0001.nii.gz"
    steps = analyze(tmp_path / "bundle", *files, tmp_path / "out", label_labels="btcv13")
    assert len(steps) == 1
    shares = zip(steps[0].frequency[1], steps[0].spectrum[1], strict=True)
    assert sum(share for frequency, share in shares if frequency > 0.3) < 0.05
    loaded = load_bundle(tmp_path / "bundle").network
    assert isinstance(loaded.get_submodule(steps[0].layer), torch.nn.Module)
    chosen = analyze(tmp_path / "bundle", *files, tmp_path / "out", label_labels="btcv13", layers=["model.0"])
    assert [step.layer for step in chosen] == ["model.0"]
    assert len(chosen[0].frequency[0]) == 12
