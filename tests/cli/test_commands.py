"""The commands as a person types them: what they write, what they say, and their exit codes."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medups.cli.main import main
from medups.data.labels import label_set
from medups.data.volumes.masks import labels_file
from medups.data.volumes.nifti import write_nifti
from medups.training.resume import differences

TINY = [
    "data=phantom", "data.split.train=['0001','0002']", "data.split.val=['0003']", "data.split.test=['0004']",
    "network=transunet_tiny", "network.size=64", "training=quick", "training.steps=6", "training.batch_size=4",
    "training.validations=2", "upsampler.options.embed_channels=8",
]  # fmt: skip


def medups(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def run(phantoms, tmp_path_factory):
    """A run folder of a few steps."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = [*TINY, f"data.root={phantoms}", f"data.cache={folder.parent / 'cache'}", f"output={folder}"]
    assert medups("train", *recipe) == 0
    return folder, recipe


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


def test_a_finished_run_says_so(run, capsys):
    _, recipe = run
    assert medups("train", *recipe) == 0
    assert "this run finished after 6 steps" in capsys.readouterr().out


def test_training_starts_from_published_weights(run, tmp_path, capsys):
    """Published names in, a report with checksum out; what does not fit is refused before the folder is made."""
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


def test_swin_unet_trains(run, tmp_path):
    _, recipe = run
    swin = ["network=swin_unet", "network.module.variant=test", "network.size=64", f"output={tmp_path / 'run'}"]
    assert medups("train", *[one for one in recipe if not one.startswith("network")], *swin) == 0
    assert (tmp_path / "run" / "bundle" / "models" / "model.pt").is_file()


def test_another_configuration_does_not_resume(run, capsys):
    _, recipe = run
    assert medups("train", *recipe, "training.optimizer.lr=0.5") == 2
    error = capsys.readouterr().err
    assert "training.optimizer.lr: was 0.003, now 0.5" in error


def test_what_resuming_would_mix_up(phantoms, tmp_path, capsys):
    """Options without parameters of a swapped network's upsampler, files that came or went, other weights to start."""
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
    for change, found in (
        (["upsampler.options.radius=4"], "upsampler.options.radius: was 8, now 4"),
        ([f"weights.path={weights}"], "weights.path: was None, now "),
    ):
        assert medups("train", *recipe, *change) == 2
        assert found in capsys.readouterr().err
    assert medups("train", *recipe, "data.split.train=['0001','0003','0002','0004']") == 2
    assert "cases.train: the same cases in another order" in capsys.readouterr().err
    for kind in ("images", "labels"):
        name = f"{'img' if kind == 'images' else 'label'}0004.nii.gz"
        (tmp_path / "data" / kind / name).unlink()
    assert medups("train", *recipe) == 2
    assert "cases.train: removed 0004" in capsys.readouterr().err


def test_predict_evaluate_compare(run, phantoms, tmp_path, capsys):
    folder, _ = run
    masks = tmp_path / "masks"
    assert medups("predict", "--model", folder / "bundle", "--input", phantoms / "img", "--output", masks) == 0
    assert sorted(path.name for path in masks.glob("*.nii.gz")) == [f"img000{n}.nii.gz" for n in (1, 2, 3, 4)]
    for protocol in ("physical", "synapse"):
        arguments = ["--pred", masks, "--label", phantoms / "label", "--image", phantoms / "img"]
        options = ["--label-labels", "btcv13", "--protocol", protocol, "--output", tmp_path / protocol]
        assert medups("evaluate", *arguments, *options) == 0
        summary = json.loads((tmp_path / protocol / "summary.json").read_text())
        assert summary["n_cases"] == 4
        assert sorted(summary["organs"]) == sorted(
            ["aorta", "gallbladder", "left_kidney", "right_kidney", "liver", "pancreas", "spleen", "stomach"]
        )
        assert len((tmp_path / protocol / "cases.csv").read_text().splitlines()) == 1 + 4 * 8
        assert len(list((tmp_path / protocol / "overlays").glob("*.png"))) == 4
        page = (tmp_path / protocol / "report.html").read_text(encoding="utf-8")
        shown = re.findall(r'<img src="([^"]+)"', page)
        assert sorted(shown) == [f"overlays/000{n}.png" for n in (1, 2, 3, 4)]
        assert all((tmp_path / protocol / name).is_file() for name in shown)
    assert medups("compare", tmp_path / "physical") == 0
    assert medups("compare", tmp_path / "physical", tmp_path / "synapse") == 2
    assert "the protocol differs" in capsys.readouterr().err
    (tmp_path / "masks" / "img0004.nii.gz").unlink()
    rest = ["--pred", masks, "--label", phantoms / "label", "--label-labels", "btcv13", "--output", tmp_path / "three"]
    assert medups("evaluate", *rest) == 0
    assert medups("compare", tmp_path / "physical", tmp_path / "three") == 2
    assert "three: the list of cases differs" in capsys.readouterr().err


def test_predict_takes_a_split_and_one_file(run, phantoms, tmp_path, capsys):
    folder, _ = run
    model = ["--model", folder / "bundle"]
    assert medups("predict", *model, "--input", phantoms / "img", "--cases", "test", "--output", tmp_path / "t") == 0
    assert [path.name for path in (tmp_path / "t").glob("*.nii.gz")] == ["img0004.nii.gz"]
    before = (tmp_path / "t" / "img0004.nii.gz").stat().st_mtime_ns
    again = ["--input", phantoms / "img", "--cases", "test", "--skip-existing", "--output", tmp_path / "t"]
    assert medups("predict", *model, *again) == 0
    assert (tmp_path / "t" / "img0004.nii.gz").stat().st_mtime_ns == before
    assert "kept 1 existing mask" in capsys.readouterr().out
    assert medups("predict", *model, "--input", phantoms / "img", "--cases", "0009", "--output", tmp_path / "t") == 2
    for output in ("one.nrrd", "one.NII.GZ"):
        wrong = ["--input", phantoms / "img" / "img0001.nii.gz", "--output", tmp_path / output]
        assert medups("predict", *model, *wrong) == 2
        assert "masks are written as .nii or .nii.gz" in capsys.readouterr().err
    assert medups("predict", *model, *wrong[:-1], tmp_path / "one.nii", "--device", "meta") == 2
    one = ["--input", phantoms / "img" / "img0001.nii.gz", "--output", tmp_path / "one.nii"]
    assert medups("predict", *model, *one) == 0
    assert nib.load(tmp_path / "one.nii").get_data_dtype() == np.uint8


def test_a_mask_never_takes_its_scans_place(run, phantoms, tmp_path, capsys):
    folder, _ = run
    scan = tmp_path / "img0001.nii.gz"
    shutil.copy(phantoms / "img" / "img0001.nii.gz", scan)
    before = scan.read_bytes()
    for output in (scan, tmp_path):
        assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", output) == 2
        assert "the mask would replace the scan" in capsys.readouterr().err
    assert scan.read_bytes() == before
    assert list(tmp_path.iterdir()) == [scan]


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


def test_baseline_writes_masks_of_the_test_cases(run, tmp_path):
    _, recipe = run
    assert medups("baseline", *recipe[:-1], f"output={tmp_path / 'masks'}") == 0
    assert [path.name for path in (tmp_path / "masks").glob("*.nii.gz")] == ["0004.nii.gz"]
    assert medups("baseline", *recipe[:-1], "data.split.test=[]", f"output={tmp_path / 'none'}") == 2
    assert not (tmp_path / "none").exists()


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
        (["training.steps=1.5"], "training.steps must be a whole number, 1 or more, or null, got '1.5'"),
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
def test_wrong_training_settings(phantoms, tmp_path, capsys, overrides, message):
    recipe = [*TINY, f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", f"output={tmp_path / 'run'}"]
    if overrides[0] == "network=unet_3d":
        recipe = [item for item in recipe if not item.startswith(("network", "upsampler"))]
    assert medups("train", *recipe, *overrides) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def damaged(folder, phantoms):
    """Scans that nobody should trust, by name."""
    folder.mkdir()
    good = (phantoms / "img" / "img0001.nii.gz").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    (folder / "cut.nii.gz").write_bytes(good[: len(good) // 2])
    (folder / "flipped.nii.gz").write_bytes(flipped)
    (folder / "text.nii.gz").write_text("not an image")
    (folder / "packed.nii.gz").write_bytes(gzip.compress(b"x" * 1000))
    write_nifti(folder / "four.nii.gz", np.zeros((4, 4, 4, 2), np.int16), np.eye(4))
    write_nifti(folder / "nan.nii.gz", np.full((4, 4, 4), np.nan, np.float32), np.eye(4))
    write_nifti(folder / "constant.nii.gz", np.ones((4, 4, 4), np.int16), np.eye(4))
    (folder / "empty").mkdir()
    return folder


BAD_SCANS = [
    "cut.nii.gz",
    "flipped.nii.gz",
    "text.nii.gz",
    "packed.nii.gz",
    "four.nii.gz",
    "nan.nii.gz",
    "constant.nii.gz",
]


@pytest.mark.parametrize("name", [*BAD_SCANS, "empty", "nowhere"])
def test_bad_scans(run, phantoms, tmp_path, capsys, name):
    folder, _ = run
    scan = damaged(tmp_path / "in", phantoms) / name
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert str(scan) in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_one_bad_scan_of_a_folder_stops_before_any_work(run, phantoms, tmp_path, capsys):
    folder, _ = run
    shutil.copytree(phantoms / "img", tmp_path / "in")
    for number in (2, 3):
        path = tmp_path / "in" / f"img000{number}.nii.gz"
        path.write_bytes(path.read_bytes()[:-500])
    assert (
        medups("predict", "--model", folder / "bundle", "--input", tmp_path / "in", "--output", tmp_path / "out") == 2
    )
    error = capsys.readouterr().err
    assert "img0002" in error
    assert "img0003" in error
    assert not (tmp_path / "out").exists()


def test_bad_predictions(run, phantoms, tmp_path, capsys):
    mask = phantoms / "label" / "label0001.nii.gz"
    volume = nib.load(mask)
    data = np.asanyarray(volume.dataobj)
    shifted = volume.affine.copy()
    shifted[0, 3] += 5
    for name, (values, affine) in {
        "shape": (data[:-1], volume.affine),
        "affine": (data, shifted),
        "ids": (np.where(data == 1, 77, data), volume.affine),
        "fractions": (data * 0.5, volume.affine),
    }.items():
        write_nifti(tmp_path / f"{name}.nii.gz", values, affine)
        arguments = ["--pred", tmp_path / f"{name}.nii.gz", "--label", mask, "--pred-labels", "btcv13"]
        options = ["--label-labels", "btcv13", "--output", tmp_path / "out"]
        assert medups("evaluate", *arguments, *options) == 2, name
        assert f"{name}.nii.gz" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    good = ["--pred", mask, "--label", mask, "--label-labels", "btcv13", "--output", tmp_path / "out"]
    assert medups("evaluate", *good) == 2
    assert "name the label set of the file with --pred-labels" in capsys.readouterr().err
    assert medups("evaluate", *good, "--pred-labels", "btcv13", "--organs", "livr") == 2
    assert "did you mean 'liver'" in capsys.readouterr().err
    own = tmp_path / "own.yaml"
    own.write_text("organs: {1: Liver, 2: cyst}")
    assert medups("evaluate", *good, "--pred-labels", own) == 2
    assert "no organ is in both label sets, Liver, cyst against spleen" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    blocked = [*good[:-1], tmp_path / "file" / "below", "--pred-labels", "btcv13"]
    assert medups("evaluate", *blocked) == 2
    assert "cannot write there" in capsys.readouterr().err


def test_organs_that_are_not_in_all_masks(phantoms, tmp_path, capsys):
    """A name that is spelt otherwise in one table would take an organ out of the mean without a word."""
    labels = ["--label", phantoms / "label", "--label-labels", "btcv13"]
    for name, liver in (("0001", "liver"), ("0002", "Liver")):
        mask = tmp_path / "masks" / f"label{name}.nii.gz"
        mask.parent.mkdir(exist_ok=True)
        shutil.copy(phantoms / "label" / mask.name, mask)
        table = {number: organ for number, organ in label_set("btcv13").organs.items() if organ != "liver"}
        labels_file(mask).write_text(json.dumps({**table, label_set("btcv13").id_of("liver"): liver}))
    scored = ["evaluate", "--pred", tmp_path / "masks", *labels, "--output"]
    assert medups(*scored, tmp_path / "out") == 2
    assert "label0002.nii.gz: its organs differ from those of " in (error := capsys.readouterr().err)
    assert "Liver, liver" in error
    assert not (tmp_path / "out").exists()
    assert medups(*scored, tmp_path / "out", "--organs", "spleen") == 0
    labels_file(tmp_path / "masks" / "label0002.nii.gz").write_text(
        labels_file(tmp_path / "masks" / "label0001.nii.gz").read_text().replace("spleen", "tumor")
    )
    (tmp_path / "masks" / "label0001.nii.gz").unlink()
    assert medups(*scored, tmp_path / "rest") == 0
    assert "organs not compared: tumor, spleen" in capsys.readouterr().out


def test_words_behind_an_option(phantoms, tmp_path, capsys):
    recipe = [*TINY, f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", f"output={tmp_path / 'run'}"]
    assert medups("train", recipe[0], "--profile", *recipe[1:], "seed=-1") == 2
    assert "seed must be" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        medups("train", "data=phantom", "--profil", "--nonsense", "seed=1")
    with pytest.raises(SystemExit):
        medups("compare", tmp_path, "--nonsense")


def test_a_bundle_without_weights(run, phantoms, tmp_path, capsys):
    folder, _ = run
    shutil.copytree(folder / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "models" / "model.pt").unlink()
    scan = phantoms / "img" / "img0001.nii.gz"
    assert medups("predict", "--model", tmp_path / "bundle", "--input", scan, "--output", tmp_path / "o") == 2
    assert "without weights" in capsys.readouterr().err


def test_a_failure_while_working_is_exit_code_1(run, phantoms, tmp_path, capsys, monkeypatch):
    """A disk that fills up while the mask is written."""
    folder, _ = run

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medups.io.files.os.fsync", full)
    scan, out = phantoms / "img" / "img0001.nii.gz", tmp_path / "out"
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", out) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not any(path.is_file() for path in out.rglob("*"))
    monkeypatch.undo()
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", out) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    labels_file(out / "img0001.nii.gz").write_text('{"1": "another"}')  # of another model
    before[labels_file(out / "img0001.nii.gz")] = b'{"1": "another"}'
    monkeypatch.setattr("medups.io.files.os.fsync", full)
    assert medups("predict", "--model", folder / "bundle", "--input", scan, "--output", out) == 1
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_phantom_and_usage(tmp_path, capsys):
    assert medups("phantom", tmp_path / "p", "--cases", 1, "--size", 32, "--slices", 8) == 0
    assert medups("phantom", tmp_path / "q", "--cases", 0) == 2
    assert not (tmp_path / "q").exists()
    with pytest.raises(SystemExit) as stop:
        medups("predict")
    assert stop.value.code == 2


def test_a_checkpoint_that_lists_its_cases_otherwise():
    """Of an earlier version: it differs, and that is said."""
    old, new = {"cases": {"0001": "train"}}, {"cases": {"train": ["0001"]}}
    assert list(differences(old, new)) == ["cases.0001: was train, now None", "cases.train: was None, now ['0001']"]
