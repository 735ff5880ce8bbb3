"""Pictures by command: train, predict, evaluate and compare on synthetic scenes."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from medups.cli.main import main
from medups.upsamplers import list_upsamplers

QUICK = [
    "task=semantic_image", "training=pictures_quick", "training.steps=200", "training.batch_size=4",
    "training.validations=1", "training.workers=0", "network.size=48",
]  # fmt: skip
CHANCE = 0.12  # mean IoU of the best constant: the larger background alone


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    arguments = ["--train", "40", "--val", "6", "--height", "48", "--width", "64"]
    assert main(["scenes", str(folder), *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    runs = {}
    for upsampler in ("linear", "resfu"):
        runs[upsampler] = folder / upsampler
        overrides = ["network=segformer_tiny", f"upsampler={upsampler}", f"output={folder / upsampler}"]
        assert main(["train", *QUICK, f"data.root={scenes}", *overrides]) == 0
    return runs


def predict_and_evaluate(run, scenes):
    masks, scores = run / "masks", run / "evaluation"
    images = str(scenes / "images")
    model = ["--model", str(run / "bundle")]
    assert main(["predict", *model, "--input", images, "--output", str(masks), "--cases", "val", "--preview"]) == 0
    pairs = ["--pred", str(masks), "--label", str(scenes / "labels")]
    assert main(["evaluate", "--task", "semantic_image", *pairs, "--image", images, "--output", str(scores)]) == 0
    return json.loads((scores / "summary.json").read_text())


def test_train_predict_evaluate_compare(trained, scenes, capsys):
    for run in trained.values():
        summary = predict_and_evaluate(run, scenes)
        assert summary["mean"]["iou"] > 2 * CHANCE
        assert summary["n_cases"] == 6
    mask = np.asarray(Image.open(trained["resfu"] / "masks" / "val" / "0041.png"))
    assert mask.shape == (48, 64)
    assert set(np.unique(mask)) <= set(range(1, 8))
    with (trained["resfu"] / "evaluation" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 7
    page = (trained["resfu"] / "evaluation" / "report.html").read_text()
    for name in ("val/0041", "boundary IoU", 'src="overlays/val/0041.png"'):
        assert name in page
    assert (trained["resfu"] / "evaluation" / "overlays" / "val" / "0041.png").is_file()
    folders = [f"{name}={run / 'evaluation'}" for name, run in trained.items()]
    assert main(["compare", *folders, "--output", str(trained["resfu"] / "comparison")]) == 0
    assert "boundary IoU" in capsys.readouterr().out


def test_the_scores_are_those_of_a_confusion_matrix(trained, scenes):
    summary = predict_and_evaluate(trained["linear"], scenes)
    matrix = np.zeros((8, 8))
    for name in (f"{number:04d}.png" for number in range(41, 47)):
        pred, label = (
            np.asarray(Image.open(folder / "val" / name)) for folder in (trained["linear"] / "masks", scenes / "labels")
        )
        np.add.at(matrix, (pred, label), 1)
    disc = matrix[3, 3] / (matrix[3].sum() + matrix[:, 3].sum() - matrix[3, 3])
    assert summary["organs"]["disc"]["iou"] == pytest.approx(disc)
    assert summary["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())


def test_a_repeated_prediction_keeps_what_is_done(trained, scenes, capsys):
    predict_and_evaluate(trained["linear"], scenes)
    capsys.readouterr()
    predict_and_evaluate(trained["linear"], scenes)
    assert "kept 6 existing masks" in capsys.readouterr().out


def test_one_picture(trained, scenes, tmp_path):
    """A single file, of another size, gives one file."""
    large = tmp_path / "large.jpg"
    Image.open(scenes / "images" / "val" / "0041.png").resize((150, 101)).save(large)
    arguments = ["--model", str(trained["resfu"] / "bundle"), "--input", str(large)]
    assert main(["predict", *arguments, "--output", str(tmp_path / "mask.png")]) == 0
    assert np.asarray(Image.open(tmp_path / "mask.png")).shape == (101, 150)
    assert json.loads((tmp_path / "mask.classes.json").read_text())["organs"]["3"] == "disc"


def test_one_damaged_picture_does_not_stop_the_others(trained, scenes, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(scenes / "images" / "val", images)
    (images / "0042.png").write_bytes(b"")
    output = tmp_path / "masks"
    arguments = ["--model", str(trained["linear"] / "bundle"), "--input", str(images), "--output", str(output)]
    assert main(["predict", *arguments]) == 2
    assert "0042.png: expected a readable" in capsys.readouterr().err
    assert len(list(output.glob("*.png"))) == 5
    assert json.loads((output / "manifest.json").read_text())["failed"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network=transunet_tiny"], "network=transunet_tiny is for task=volume"),
        (["data=synapse"], "reads pictures: pictures or voc"),
        (["data=pictures"], "data.source_labels"),
        (["label_set=synapse8"], "lack aorta"),
        (["data.labels=images"], "one number per pixel"),
    ],
)
def test_wrong_settings_name_the_setting(scenes, tmp_path, overrides, message, capsys):
    output = tmp_path / "run"
    arguments = [*QUICK, "network=segformer_tiny", f"data.root={scenes}", f"output={output}", *overrides]
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_other_classes_are_not_compared(trained, scenes, tmp_path, capsys):
    predict_and_evaluate(trained["linear"], scenes)
    pairs = ["--pred", str(trained["linear"] / "masks"), "--label", str(scenes / "labels"), "--label-labels", "voc"]
    assert main(["evaluate", "--task", "semantic_image", *pairs, "--output", str(tmp_path / "out")]) == 2
    assert "the predictions have the classes of scenes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_prepare_lists_every_problem_and_draws(scenes, tmp_path, capsys):
    overrides = [*QUICK, "network=segformer_tiny"]
    assert main(["prepare", *overrides, f"data.root={scenes}", "--output", str(tmp_path / "survey")]) == 0
    with (tmp_path / "survey" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 46
    assert sum(float(rows[0][name]) for name in ("sky", "ground", "disc", "box", "triangle", "stick", "ring")) > 0.999
    assert len(list((tmp_path / "survey" / "overlays").rglob("*.png"))) == 40
    broken = tmp_path / "broken"
    shutil.copytree(scenes, broken)
    (broken / "images" / "train" / "0003.png").write_bytes(b"")
    Image.fromarray(np.full((48, 64), 99, np.uint8)).save(broken / "labels" / "val" / "0042.png")
    capsys.readouterr()
    assert main(["prepare", *overrides, f"data.root={broken}", "--output", str(tmp_path / "no")]) == 2
    printed = capsys.readouterr()
    assert "0003.png" in printed.out
    assert "label ids [99]" in printed.out
    assert "2 problems in 46 pictures" in printed.err
    assert not (tmp_path / "no").exists()


def test_the_model_in_python_and_its_facts(trained, scenes, capsys):
    import medups

    folder = trained["resfu"] / "bundle"
    model = medups.load_model(folder)
    picture = Image.open(scenes / "images" / "val" / "0043.png")
    prediction = model.predict(picture)
    assert prediction.mask.shape == (48, 64)
    assert prediction.organs[7] == "ring"
    assert (model.predict(np.asarray(picture)).mask == prediction.mask).all()
    with pytest.raises(medups.errors.InputError, match="expected colors"):
        model.predict(np.zeros((4, 5)))
    assert main(["info", str(folder)]) == 0
    assert "photograph, 48 x 48" in capsys.readouterr().out


def test_export(trained, tmp_path):
    file = tmp_path / "network.pt2"
    model = ["--model", str(trained["linear"] / "bundle")]
    assert main(["export", *model, "--format", "torch-export", "--output", str(file)]) == 0
    assert file.is_file()


def test_the_voxel_baseline_refuses_pictures(scenes, tmp_path, capsys):
    assert main(["baseline", *QUICK, "network=segformer_tiny", f"data.root={scenes}", f"output={tmp_path}"]) == 2
    assert "works on scans only; task=semantic_image" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize("network", ["segformer_tiny", "segnext_tiny", "segmenter_tiny"])
@pytest.mark.parametrize("upsampler", list_upsamplers())
def test_every_network_learns_with_every_upsampler(scenes, tmp_path, network, upsampler):
    overrides = [f"network={network}", f"upsampler={upsampler}", f"output={tmp_path}", f"data.root={scenes}"]
    assert main(["train", *QUICK, *overrides]) == 0
    assert predict_and_evaluate(tmp_path, scenes)["mean"]["iou"] > 1.5 * CHANCE
