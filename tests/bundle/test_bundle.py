"""Bundles run in medups and in MONAI, and loading one executes none of its content."""

from __future__ import annotations

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from medups.bundle import load_bundle, write_bundle
from medups.bundle.model import define, make_model
from medups.data.labels import label_set
from medups.data.volumes import Grid
from medups.data.volumes.find import find_scans
from medups.data.volumes.read import read_scan
from medups.data.volumes.resize import resize_image, resize_labels, resized_shape
from medups.errors import InputError
from medups.inference.segment import segment_canonical
from medups.workflows.evaluate import evaluate
from medups.workflows.predict import predict

SCALE = {
    "_target_": "monai.transforms.ScaleIntensityRanged",
    "keys": ["image"], "a_min": -125, "a_max": 275, "b_min": 0, "b_max": 1, "clip": True,
}  # fmt: skip
NETWORK = {
    "_target_": "medups.networks.TransUNet", "img_size": 64, "in_channels": 1, "out_channels": 9,
    "upsampler": "resfu", "upsampler_options": {"embed_channels": 16}, "variant": "tiny",
}  # fmt: skip
SPLIT = {"train": ["0001"], "val": [], "test": ["0002"]}


@pytest.fixture
def bundle(tmp_path):
    torch.manual_seed(0)
    inferer = {"_target_": "medups.inference.SliceInferer", "size": 64}
    definition = define(NETWORK, [SCALE], inferer, label_set("synapse8"), None, SPLIT)
    model = make_model(definition, "test")
    torch.nn.init.normal_(model.network.head.weight, std=3)  # so that the untrained network predicts several organs
    write_bundle(tmp_path / "bundle", model, model.network.state_dict(), "a test")
    return tmp_path / "bundle"


@pytest.fixture
def scan(phantoms):
    return phantoms / "img" / "img0003.nii.gz"  # an oblique scan


def test_mask_is_on_the_grid_of_the_scan(bundle, scan, tmp_path):
    predict(bundle, scan, tmp_path / "mask.nii.gz")
    mask, image = nib.load(tmp_path / "mask.nii.gz"), nib.load(scan)
    assert mask.shape == image.shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert len(np.unique(np.asanyarray(mask.dataobj))) > 1
    table = json.loads((tmp_path / "mask.labels.json").read_text())
    assert table["1"] == "aorta"


def test_bundle_of_a_network_with_swapped_upsampling(tmp_path):
    """A MONAI network with swapped upsampling loads from its bundle, and MONAI itself can build it."""
    unet = {
        "_target_": "monai.networks.nets.UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 9,
        "channels": [8, 16], "strides": [2],
    }  # fmt: skip
    swapped = {"_target_": "medups.networks.with_upsampler", "network": unet, "upsampler": "resfu", "options": {}}
    inferer = {"_target_": "medups.inference.SliceInferer", "size": 64}
    model = make_model(define(swapped, [SCALE], inferer, label_set("synapse8"), None, SPLIT), "test")
    write_bundle(tmp_path / "bundle", model, model.network.state_dict(), "a test")
    image = torch.randn(1, 1, 30, 22)
    network = load_bundle(tmp_path / "bundle").network
    assert any(type(module).__name__ == "ReSFU" for module in network.modules())
    parser = ConfigParser()
    parser.read_config(tmp_path / "bundle" / "configs" / "inference.json")
    monai_network = parser.get_parsed_content("network_def").eval()
    monai_network.load_state_dict(torch.load(tmp_path / "bundle" / "models" / "model.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(network(image), monai_network(image))


def test_reoriented_scan_gives_the_same_mask(bundle, scan, tmp_path):
    """A scan stored with reordered axes gets the same mask in world coordinates."""
    image = nib.load(scan)
    nib.save(image.as_reoriented([[2, 1], [0, -1], [1, 1]]), tmp_path / "turned.nii.gz")
    predict(bundle, scan, tmp_path / "a.nii.gz")
    predict(bundle, tmp_path / "turned.nii.gz", tmp_path / "b.nii.gz")
    first, second = (nib.as_closest_canonical(nib.load(tmp_path / f"{name}.nii.gz")) for name in "ab")
    np.testing.assert_array_equal(np.asanyarray(first.dataobj), np.asanyarray(second.dataobj))
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-4)


def test_monai_runs_the_bundle(bundle, scan, tmp_path):
    predict(bundle, scan, tmp_path / "medups.nii.gz")
    subprocess.run(
        [
            sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "inference.json"),
            "--bundle_root", str(bundle), "--input", str(scan), "--output", str(tmp_path / "monai.nii.gz"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "monai.nii.gz").read_bytes() == (tmp_path / "medups.nii.gz").read_bytes()


def test_monai_builds_the_same_network(bundle):
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    x = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(x), load_bundle(bundle).network(x))


def monai_label(bundle, scan):
    """The mask, as MONAI Label makes it from the sections of a bundle."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    data = parser.get_parsed_content("pre_transforms")({"image": str(scan), "image_path": str(scan)})
    network = load_bundle(bundle).network
    with torch.no_grad():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    return parser.get_parsed_content("post_transforms")(data)["pred"]


def test_monai_label_makes_the_same_mask(bundle, scan, tmp_path):
    mask = monai_label(bundle, scan)
    predict(bundle, scan, tmp_path / "mask.nii.gz")
    expected = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(mask[0].numpy(), expected.get_fdata())
    np.testing.assert_allclose(mask.affine, expected.affine, atol=1e-4)


def test_monai_label_resamples_for_a_3d_network(scan, tmp_path):
    """The ids on the model's grid, nearest neighbors of which are on the grid of the scan."""
    network = {
        "_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 9,
        "features": [4, 4, 4, 4, 4, 4],
    }  # fmt: skip
    inferer = {"_target_": "medups.inference.WindowInferer", "roi_size": [16, 32, 32]}
    torch.manual_seed(0)
    volume = read_scan(find_scans(scan).scans[0])
    grid = Grid(volume.data.shape, volume.affine)
    spacing = [mm * 0.9 for mm in grid.spacing]
    model = make_model(define(network, [SCALE], inferer, label_set("synapse8"), spacing, SPLIT), "test")
    write_bundle(tmp_path / "bundle", model, model.network.state_dict(), "a test")
    mask = monai_label(tmp_path / "bundle", scan)
    shape = resized_shape(grid.canonical_shape, grid.spacing, spacing)
    assert shape != grid.canonical_shape
    ids = segment_canonical(model, resize_image(grid.to_canonical(volume.data), shape), "cpu")
    expected = grid.to_file(resize_labels(ids, grid.canonical_shape))
    assert len(np.unique(expected)) > 1
    np.testing.assert_allclose(mask.affine, volume.affine, atol=1e-3)
    assert (mask[0].numpy() == expected).mean() > 0.999


def test_evaluation_by_monai(bundle, scan, tmp_path):
    """``monai.bundle run`` with the bundle's evaluation writes the scores of ``medups evaluate``."""
    label = scan.parent.parent / "label" / scan.name.replace("img", "label")
    subprocess.run(
        [
            sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "evaluate.json"),
            "--bundle_root", str(bundle), "--input", str(scan), "--label", str(label), "--label_labels", "btcv13",
            "--output", str(tmp_path / "out"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    predict(bundle, scan, tmp_path / "mask.nii.gz")
    expected = evaluate(tmp_path / "mask.nii.gz", label, label_labels="btcv13", output=tmp_path / "again")
    assert len(expected.evaluation.cases) == 1
    scores = [(tmp_path / name / "cases.csv").read_text().splitlines() for name in ("out", "again")]
    assert [line.split(",")[1:] for line in scores[0]] == [line.split(",")[1:] for line in scores[1]]


def edit(bundle, change):
    path = bundle / "configs" / "inference.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["network_def"].update(_target_="os.system"), "_target_ 'os.system' is not allowed"),
        (lambda c: c["network_def"].update(_target_="subprocess.Popen"), "is not allowed"),
        (lambda c: c["network_def"].update(upsampler="$__import__('os').system('true')"), "is an expression"),
        (lambda c: c["preprocessing"].append({"_target_": "monai.transforms.Lambdad"}), "is not allowed"),
        (lambda c: c["preprocessing"].append({"_target_": "medups.data.transforms.ndimage"}), "is not allowed"),
        (lambda c: c.pop("inferer"), "sections inferer are missing"),
        (lambda c: c["medups"].update(orientation="RAS"), "slice orientation 'RAS'"),
        (lambda c: c["medups"].update(format=99), "bundle format 99"),
        (lambda c: c["network_def"].update(out_channels=5), "do not fit the network"),
    ],
)
def test_damaged_and_hostile_bundles_are_refused(bundle, change, message):
    edit(bundle, change)
    with pytest.raises(InputError, match=message):
        load_bundle(bundle)


def test_a_bundle_without_weights(bundle):
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(InputError, match="without weights"):
        load_bundle(bundle)
    with pytest.raises(InputError, match="not a bundle"):
        load_bundle(bundle.parent)


def test_pickled_weights_are_refused(bundle):
    class Hostile:
        def __reduce__(self):
            return print, ("executed",)

    torch.save({"weight": Hostile()}, bundle / "models" / "model.pt")
    with pytest.raises(InputError, match="expected a checkpoint of tensors"):
        load_bundle(bundle)
