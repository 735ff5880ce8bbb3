"""Bundles of earlier versions; that of 0.1.0 is a 2-D U-Net of MONAI whose steps ReSFU does, untrained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from monai.bundle import ConfigParser

import medups.bundle
from medups.bundle import load_bundle
from medups.workflows.ensemble import ensemble
from medups.workflows.monai_run import Predictor

BUNDLE = Path(__file__).with_name("bundle_0_1")
ORGANS_OF_A_RAMP = {2: 919, 3: 1364, 5: 1706, 7: 8, 8: 99}
"""Pixels by id that version 0.1.0 gave to a ramp from 0 to 1 along both axes."""
ORGANS_OF_A_3D_RAMP = {0: 461, 1: 12, 2: 229, 3: 51, 4: 442, 5: 428, 6: 130, 7: 272, 8: 2071}
"""Voxels by id that version 0.2.0 gave to a ramp."""


def ramp():
    return torch.linspace(0, 1, 64 * 64).reshape(1, 1, 64, 64)


def counts(network):
    with torch.inference_mode():
        ids, numbers = network(ramp()).argmax(1).unique(return_counts=True)
    return dict(zip(ids.tolist(), numbers.tolist(), strict=True))


def test_it_loads_and_segments_as_before():
    model = load_bundle(BUNDLE)
    assert counts(model.network) == ORGANS_OF_A_RAMP
    assert model.labels.organs[2] == "gallbladder"
    assert (model.modality, model.display_window) == ("CT", (-125, 275))


def test_an_ensemble_of_them_describes_its_data(tmp_path):
    shutil.copytree(BUNDLE, tmp_path / "copy")
    ensemble([BUNDLE, tmp_path / "copy"], tmp_path / "both")
    metadata = [
        json.loads((folder / "configs" / "metadata.json").read_text()) for folder in (BUNDLE, tmp_path / "both")
    ]
    single, both = (content["network_data_format"] for content in metadata)
    assert both["outputs"]["pred"]["channel_def"] == single["outputs"]["pred"]["channel_def"]


def test_the_targets_it_names_can_be_imported():
    """MONAI builds everything of the bundle; the prediction's class moved, and its former name remains."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.json")
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    assert counts(network) == ORGANS_OF_A_RAMP
    assert medups.bundle.Predictor is Predictor


def test_a_bundle_of_version_0_2():
    """A 3-D network with CARAFE; the ids that this version gave to a ramp."""
    model = load_bundle(BUNDLE.with_name("bundle_0_2"))
    with torch.inference_mode():
        logits = model.network(torch.linspace(0, 1, 16**3).reshape(1, 1, 16, 16, 16))
    ids, numbers = logits.argmax(1).unique(return_counts=True)
    assert dict(zip(ids.tolist(), numbers.tolist(), strict=True)) == ORGANS_OF_A_3D_RAMP
    assert (model.spacing, model.inferer.roi_size, model.modality) == ((3, 2, 2), (16, 16, 16), "CT")
