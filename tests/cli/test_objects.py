"""Objects and panoptic segments by command, on synthetic scenes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

import medups
from medups.cli.main import main

pytest.importorskip("faster_coco_eval")
QUICK = ["training=detection_quick", "training.validations=1", "training.workers=0", "training.batch_size=2"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    assert main(["scenes", str(folder), "--train", "24", "--val", "4", "--height", "64", "--width", "80"]) == 0
    return folder


def train(scenes, output, task, network, *overrides):
    arguments = [f"task={task}", f"network={network}", f"data.root={scenes}", f"output={output}", *QUICK, *overrides]
    assert main(["train", *arguments]) == 0
    return output


@pytest.fixture(scope="module")
def panoptic(scenes, tmp_path_factory):
    """Long enough to learn the two kinds of background."""
    output = tmp_path_factory.mktemp("runs") / "panoptic"
    return train(scenes, output, "panoptic", "panoptic_fpn_tiny", "upsampler=freqfusion", "training.steps=60",
                 "network.module.short=64", "upsampler.options.compressed_channels=16")  # fmt: skip


@pytest.fixture(scope="module")
def detector(scenes, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "detector"
    return train(scenes, output, "detection", "mask_rcnn_tiny", "upsampler=resfu", "training.steps=4",
                 "network.inferer.least_score=0", "network.module.short=64")  # fmt: skip


def predict(run, scenes, *arguments):
    output = run / "predicted"
    command = ["predict", "--model", str(run / "bundle"), "--input", str(scenes / "images"), "--output", str(output)]
    assert main([*command, "--cases", "val", *arguments]) == 0
    return output


def test_panoptic_segments(panoptic, scenes, capsys):
    output = predict(panoptic, scenes, "--preview")
    numbers = np.asarray(Image.open(output / "panoptic" / "val" / "0025.png")).astype(int) @ [1, 256, 65536]
    content = json.loads((output / "panoptic.json").read_text())
    first = content["annotations"][0]["segments_info"]
    assert {row["id"]: row["area"] for row in first} == {
        number: count for number, count in zip(*np.unique(numbers, return_counts=True), strict=True) if number
    }
    assert (output / "panoptic" / "val" / "0025.preview.png").is_file()
    label = scenes / "annotations" / "panoptic_val.json"
    arguments = ["evaluate", "--task", "panoptic", "--label", str(label), "--image", str(scenes / "images")]
    assert main([*arguments, "--pred", str(output), "--output", str(panoptic / "scores")]) == 0
    summary = json.loads((panoptic / "scores" / "summary.json").read_text())
    assert summary["organs"]["sky"]["pq"] > 0.6
    assert summary["organs"]["ground"]["pq"] > 0.6
    assert summary["n_cases"] == 4
    assert "PQ" in (panoptic / "scores" / "report.html").read_text()
    assert len(list((panoptic / "scores" / "overlays").rglob("*.png"))) == 4
    perfect = panoptic / "perfect"
    assert main([*arguments, "--pred", str(label), "--output", str(perfect)]) == 0
    summary = json.loads((perfect / "summary.json").read_text())
    assert summary["mean"] == {"pq": 1, "sq": 1, "rq": 1}
    capsys.readouterr()
    assert main(["compare", f"net={panoptic / 'scores'}", f"label={perfect}"]) == 0
    assert "PQ" in capsys.readouterr().out


def test_objects(detector, scenes, capsys):
    output = predict(detector, scenes)
    label = scenes / "annotations" / "instances_val.json"
    arguments = ["evaluate", "--task", "detection", "--label", str(label)]
    assert main([*arguments, "--pred", str(output), "--output", str(detector / "scores")]) == 0
    with (detector / "scores" / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4 * 5
    capsys.readouterr()
    predict(detector, scenes)
    assert "kept 4 existing" in capsys.readouterr().out
    content = json.loads((output / "objects.json").read_text())
    assert [image["id"] for image in content["images"]] == [25, 26, 27, 28]
    assert {"bbox", "score", "segmentation", "category_id"} <= set(content["annotations"][0])


def test_perfect_objects_have_an_average_precision_of_1(detector, scenes):
    """The annotations with scores, as COCO's list of results."""
    label = scenes / "annotations" / "instances_val.json"
    rows = json.loads(label.read_text())["annotations"]
    results = [
        {**{key: row[key] for key in ("image_id", "category_id", "bbox", "segmentation")}, "score": 0.9} for row in rows
    ]
    (detector / "results.json").write_text(json.dumps(results))
    arguments = ["evaluate", "--task", "detection", "--label", str(label), "--pred", str(detector / "results.json")]
    assert main([*arguments, "--output", str(detector / "perfect")]) == 0
    summary = json.loads((detector / "perfect" / "summary.json").read_text())
    assert summary["mean"] == pytest.approx({"box_ap": 1, "mask_ap": 1, "boundary_ap": 1, "f1": 1})


def test_one_picture_and_python(detector, panoptic, scenes, tmp_path):
    picture = scenes / "images" / "val" / "0025.png"
    command = ["predict", "--input", str(picture), "--model"]
    assert main([*command, str(detector / "bundle"), "--output", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["images"] == [{"id": 25, "file_name": "0025.png", "height": 64, "width": 80}]
    assert main([*command, str(panoptic / "bundle"), "--output", str(tmp_path / "found.png")]) == 0
    prediction = medups.load_model(panoptic / "bundle", "cpu").predict(np.asarray(Image.open(picture)))
    numbers = np.asarray(Image.open(tmp_path / "found.png")).astype(int) @ [1, 256, 65536]
    assert (prediction.mask.numbers == numbers).all()


def test_prepare_counts_objects_and_lists_problems(scenes, tmp_path, capsys):
    arguments = ["prepare", "task=detection", "network=faster_rcnn_tiny", f"data.root={scenes}"]
    assert main([*arguments, "--output", str(tmp_path / "survey")]) == 0
    with (tmp_path / "survey" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    entries = json.loads((scenes / "annotations" / "instances_train.json").read_text())["annotations"]
    first = [entry["category_id"] for entry in entries if entry["image_id"] == 1]
    names = ("disc", "box", "triangle", "stick", "ring")
    assert [int(rows[0][name]) for name in names] == [first.count(number) for number in range(3, 8)]
    broken = tmp_path / "broken"
    (broken / "annotations").mkdir(parents=True)
    (broken / "images").symlink_to(scenes / "images")
    for part in ("train", "val"):
        content = json.loads((scenes / "annotations" / f"instances_{part}.json").read_text())
        content["annotations"][0]["segmentation"]["size"] = [7, 7]
        (broken / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    assert main([*arguments, f"data.root={broken}", "--output", str(tmp_path / "none")]) == 2
    captured = capsys.readouterr()
    assert "2 problems" in captured.err
    assert "of the size [64, 80]" in captured.out + captured.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=detection", "network=segformer_tiny"], "network=segformer_tiny is for task=semantic_image"),
        (["task=detection", "data=scenes"], "task=detection reads pictures: coco"),
        (["task=panoptic", "data=scene_objects", "network=panoptic_fpn_tiny"], "listed as stuff"),
        (["task=detection", "data=scene_segments", "network=mask_rcnn_tiny"], "task=detection none"),
        (["task=detection", "network=mask_rcnn_tiny", "training.milestones=[0.5]"], "training.milestones"),
    ],
)
def test_wrong_settings_name_the_setting(scenes, tmp_path, overrides, message, capsys):
    output = tmp_path / "run"
    assert main(["train", *QUICK, *overrides, f"data.root={scenes}", f"output={output}"]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_files_of_the_other_task_and_empty_ones_are_refused(scenes, tmp_path, capsys):
    empty = tmp_path / "empty.json"
    empty.write_text('{"images": [], "annotations": [], "categories": []}')
    label = str(scenes / "annotations" / "instances_val.json")
    arguments = ["evaluate", "--task", "detection", "--pred", str(empty), "--label", label]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    assert "no pictures were predicted" in capsys.readouterr().err
    files = {kind: str(scenes / "annotations" / f"{kind}_val.json") for kind in ("instances", "panoptic")}
    arguments = ["evaluate", "--output", str(tmp_path / "out"), "--pred", files["panoptic"], "--label"]
    assert main([*arguments, files["panoptic"], "--task", "detection"]) == 2
    assert "panoptic segments, but --task detection" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.full
@pytest.mark.parametrize("upsampler", ["native", "resfu"])
def test_objects_are_learned(scenes, tmp_path, upsampler):
    """Chance is an average precision of about 0."""
    assert main(["scenes", str(tmp_path / "more"), "--train", "120", "--val", "10"]) == 0
    run = train(tmp_path / "more", tmp_path / "run", "detection", "mask_rcnn_tiny", f"upsampler={upsampler}",
                "training.steps=400", "training.batch_size=4")  # fmt: skip
    output = predict(run, tmp_path / "more")
    label = tmp_path / "more" / "annotations" / "instances_val.json"
    arguments = ["--pred", str(output), "--label", str(label), "--output", str(tmp_path / "scores")]
    assert main(["evaluate", "--task", "detection", *arguments]) == 0
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["mean"]["mask_ap"] > 0.15
