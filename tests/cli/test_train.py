"""``medups train``: what it writes, when it resumes, which settings it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medups.training.resume import differences
from tests.cli.commands import TINY, medups


def test_train_writes_a_run_folder(run):
    folder, _ = run
    assert {"bundle", "checkpoints", "log.txt", "config.json"} <= {path.name for path in folder.iterdir()}
    assert (folder / "checkpoints" / "last.pt").is_file()
    assert (folder / "checkpoints" / "best.pt").is_file()
    log = (folder / "log.txt").read_text()
    assert re.search(r"step 3: loss [\d.]+, learning_rate [\d.]+, gradient_norm [\d.]+, samples_per_second", log)
    assert "validation Dice" in log
    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    training = {"loss", "learning_rate", "gradient_norm", "samples_per_second", "waiting_for_data"}
    assert {f"train/{name}" for name in training} | {"val/dice", "val/dice_liver"} <= scalars
    waiting = [event.value for event in events.Scalars("train/waiting_for_data")]
    assert all(0 < share < 1 for share in waiting)
    assert events.Tags()["images"] == ["val/overlay"]
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


def test_the_same_seed_trains_the_same_weights(run, tmp_path):
    folder, recipe = run
    assert medups("train", *recipe, f"output={tmp_path / 'again'}") == 0
    first, second = (
        torch.load(path / "checkpoints" / "last.pt", weights_only=True)["network"]
        for path in (folder, tmp_path / "again")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_finished_run_is_reported(run, capsys):
    _, recipe = run
    assert medups("train", *recipe) == 0
    assert "this run finished after 6 steps" in capsys.readouterr().out


def test_training_starts_from_published_weights(run, tmp_path, capsys):
    """Published names are loaded and reported with a checksum; a mismatch is refused before the folder is created."""
    _, recipe = run
    published = {"module.segmentation_head.0.bias": torch.full((9,), 7.0)}
    path = tmp_path / "published.pth"
    torch.save({"state_dict": published}, path)
    start = [f"output={tmp_path / 'run'}", f"weights.path={path}", "weights.layout=transunet"]
    assert medups("train", *recipe, *start) == 2
    assert "weights of layout 'transunet' do not fit TransUNet; missing: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert medups("train", *recipe, *start, "weights.strict=false", "training.optimizer.lr=0") == 0
    report = json.loads((tmp_path / "run" / "weights.json").read_text())
    assert report["loaded"] == ["head.bias"]
    assert report["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    trained = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)["network"]
    assert torch.equal(trained["head.bias"], torch.full((9,), 7.0))


def test_no_steps_make_a_bundle_of_published_weights(run, tmp_path, capsys):
    """The bundle holds the weights of the file, with their validation score; a second command changes nothing."""
    folder, recipe = run
    options = ["training.epochs=null", "training.steps=0", f"output={tmp_path / 'run'}"]
    assert medups("train", *recipe, *options) == 2
    assert "training.steps=0 keeps the starting weights: set weights.path" in capsys.readouterr().err
    start = [f"weights.path={folder / 'bundle/models/model.pt'}", "weights.layout=medups"]
    assert medups("train", *recipe, *options, *start) == 0
    assert "step 0: validation Dice" in capsys.readouterr().out
    copy = tmp_path / "run" / "bundle" / "models" / "model.pt"
    trained, copied = (torch.load(file, weights_only=True) for file in (folder / "bundle/models/model.pt", copy))
    assert {name: value.tolist() for name, value in copied.items()} == {n: v.tolist() for n, v in trained.items()}
    before = copy.read_bytes()
    assert medups("train", *recipe, *options, *start) == 0
    assert "this run finished after 0 steps" in capsys.readouterr().out
    assert copy.read_bytes() == before


def test_swin_unet_trains(run, tmp_path):
    _, recipe = run
    swin = ["network=swin_unet", "network.module.variant=test", "network.size=64", f"output={tmp_path / 'run'}"]
    assert medups("train", *[item for item in recipe if not item.startswith("network")], *swin) == 0
    assert (tmp_path / "run" / "bundle" / "models" / "model.pt").is_file()


def test_a_different_configuration_does_not_resume(run, capsys):
    _, recipe = run
    assert medups("train", *recipe, "training.optimizer.lr=0.5") == 2
    error = capsys.readouterr().err
    assert "training.optimizer.lr: was 0.003, now 0.5" in error


def test_changes_that_prevent_resuming(phantoms, tmp_path, capsys):
    """Other upsampler options in a swapped network, other initial weights, reordered cases and removed files."""
    for kind, goal in (("img", "images"), ("label", "labels")):
        (tmp_path / "data" / goal).mkdir(parents=True)
        for path in (phantoms / kind).iterdir():
            shutil.copy(path, tmp_path / "data" / goal)
    recipe = [
        "data=folders", f"data.root={tmp_path / 'data'}", "data.source_labels=btcv13", "training=quick",
        f"data.cache={tmp_path / 'cache'}", f"output={tmp_path / 'run'}", "training.steps=1", "training.batch_size=1",
        "network=unet_3d", "network.module.channels=[4,8]", "network.module.strides=[2]", "upsampler=resfu",
        "upsampler.options.embed_channels=8", "network.inferer.roi_size=[16,16,16]", "network.spacing=[12,8,8]",
    ]  # fmt: skip
    assert medups("train", *recipe) == 0
    weights = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1)}, weights)
    for change, message in (
        (["upsampler.options.radius=4"], "upsampler.options.radius: was 8, now 4"),
        ([f"weights.path={weights}"], "weights.path: was None, now "),
    ):
        assert medups("train", *recipe, *change) == 2
        assert message in capsys.readouterr().err
    assert medups("train", *recipe, "data.split.train=['0001','0003','0002','0004']") == 2
    assert "cases.train: the same cases in another order" in capsys.readouterr().err
    for kind in ("images", "labels"):
        name = f"{'img' if kind == 'images' else 'label'}0004.nii.gz"
        (tmp_path / "data" / kind / name).unlink()
    assert medups("train", *recipe) == 2
    assert "cases.train: removed 0004" in capsys.readouterr().err


def test_a_monai_3d_network_trains_and_predicts(phantoms, tmp_path):
    recipe = [
        "data=phantom", f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", f"output={tmp_path / 'run'}",
        "data.split.train=['0001','0002']", "data.split.val=['0003']", "data.split.test=['0004']", "training=quick",
        "training.steps=2", "training.batch_size=1", "training.validations=1", "network=unet_3d",
        "network.module.channels=[4,8,16]", "network.module.strides=[2,2]", "network.inferer.roi_size=[16,32,32]",
        "network.spacing=[12,6,6]",
    ]  # fmt: skip
    assert medups("train", *recipe) == 0
    scan = phantoms / "img" / "img0004.nii.gz"
    out = tmp_path / "mask.nii.gz"
    assert medups("predict", "--model", tmp_path / "run" / "bundle", "--input", scan, "--output", out) == 0
    assert nib.load(out).shape == nib.load(scan).shape
    np.testing.assert_array_equal(nib.load(out).affine, nib.load(scan).affine)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["nonsense=1"], "nonsense: unknown setting"),
        (["network=unknown"], "network=unknown: unknown choice"),
        (["data.root"], "data.root: expected key=value"),
        (["label_set=unknown"], "unknown label set 'unknown'"),
        (["network.size=100"], "use 112 x 112"),
        (["data.root=/nowhere"], "/nowhere: expected the folders img and label"),
        (["data.source_labels=synapse8"], "are not in the set 'synapse8'"),
        (["training.epochs=2"], "either steps or epochs"),
        (["upsampler.name=magic"], "unknown upsampler 'magic'"),
        (["training.loss._target_=os.system"], "is not allowed"),
        (["network=unet_3d", "upsampler=patch_expand"], "unknown upsampler 'patch_expand'"),
        (["network=unet_3d", "network.spacing=[0,1.5,1.5]"], "network.spacing must be three numbers"),
        (["network=unet_3d", "network.spacing=0"], "network.spacing must be a list of numbers, or null, got '0'"),
        (["network.spacing=[4,2,2]"], "network.spacing is for networks on patches"),
        (["training.validations=0"], "training.validations must be a whole number, 1 or more, got 0"),
        (["training.steps=1.5"], "training.steps must be a whole number, 0 or more, or null, got '1.5'"),
        (["training.batch_size=0"], "training.batch_size must be a whole number, 1 or more, got 0"),
        (["training.workers=-1"], "training.workers must be a whole number, 0 or more, got -1"),
        (["training.patience=0"], "training.patience must be a whole number, 1 or more, or null, got 0"),
        (["training.clip_norm=x"], "training.clip_norm must be a number, 0 or more, or null, got 'x'"),
        (["training.ema_decay=3"], "training.ema_decay must be a number, 0 to 1, or null, got 3"),
        (["training.balanced=7"], "training.balanced must be a number, 0 to 1, got 7"),
        (["training.optimizer.lr=fast"], "training.optimizer.lr must be a number, 0 or more, got 'fast'"),
        (["training.precision=bf16-true"], "training.precision must be one of 32-true, 16-mixed, bf16-mixed"),
        (["training.precision=16-mixed", "training.accelerator=cpu"], "needs a GPU"),
        (["training.devices=abc"], "training.devices must be a whole number, 1 or more, or auto, got 'abc'"),
        (["training.num_nodes=abc"], "training.num_nodes must be a whole number, 1 or more, got 'abc'"),
        (["seed=-1"], "seed must be a whole number, 0 or more, got -1"),
        (["fold=abc"], "fold must be a whole number, 0 or more, or null, got 'abc'"),
        (["output="], "output must name a folder"),
        (["data.cache=/proc/nowhere"], "the cache cannot be written to"),
        (["data.root=/a/ä b"], "expected key=value; quote text with special characters twice"),
        (
            ["preprocessing=[{_target_: monai.transforms.NormalizeIntensityd, keys: [image]}]"],
            "the result for a voxel must not depend on other voxels",
        ),
        (["weights.path=/nowhere.npz"], "weights.path: /nowhere.npz: cannot be read"),
    ],
)
def test_invalid_training_settings(phantoms, tmp_path, capsys, overrides, message):
    recipe = [*TINY, f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", f"output={tmp_path / 'run'}"]
    if overrides[0] == "network=unet_3d":
        recipe = [item for item in recipe if not item.startswith(("network", "upsampler"))]
    assert medups("train", *recipe, *overrides) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_with_an_older_list_of_cases():
    """The format of an earlier version is reported as a difference."""
    old, new = {"cases": {"0001": "train"}}, {"cases": {"train": ["0001"]}}
    assert list(differences(old, new)) == ["cases.0001: was train, now None", "cases.train: was None, now ['0001']"]
