"""Sweeps, profiles, folds, recipes and ensembles on the command line."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from lightning_fabric.plugins.environments import SLURMEnvironment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medups.bundle.model import load_bundle
from medups.data.labels import label_set
from medups.data.volumes import Grid
from medups.instantiate import instantiate
from medups.io.checkpoints import CheckpointError, load_checkpoint
from medups.settings.compose import compose
from medups.training.distributed import is_launched, make_fabric
from medups.upsamplers import Interpolate, ReSFU
from medups.workflows.setup import network_spec
from tests.cli.commands import medups

SLURM = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"}


@pytest.fixture
def recipe(phantoms, tmp_path):
    return [
        "data=phantom", f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", "data.split.train=['0001','0002']",
        "data.split.val=['0003']", "data.split.test=['0004']", "network=transunet_tiny", "network.size=32",
        "training=quick", "training.steps=2", "training.batch_size=2", "training.validations=1", "training.workers=0",
        "upsampler=bilinear",
    ]  # fmt: skip


@pytest.fixture
def bundles(recipe, tmp_path):
    """Two ensemble members, trained with different seeds."""
    for seed in (0, 1):
        assert medups("train", *recipe, f"seed={seed}", f"output={tmp_path / f'seed{seed}'}") == 0
    return [tmp_path / f"seed{seed}" / "bundle" for seed in (0, 1)]


def test_a_sweep_is_a_run_for_each_combination(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert medups("train", "-m", *recipe, "seed=0,1", "fold=null") == 0
    runs = [tmp_path / "runs" / f"transunet_tiny-bilinear-{seed}" for seed in (0, 1)]
    seeds = [json.loads((run / "config.json").read_text())["seed"] for run in runs]
    assert seeds == [0, 1]
    first, second = (load_bundle(run / "bundle").network.state_dict() for run in runs)
    assert any(not torch.equal(value, second[name]) for name, value in first.items())


def test_a_sweep_reports_the_failed_run(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert medups("train", "-m", *recipe, "network.size=32,33", "output=runs/${network.size}") == 1
    error = capsys.readouterr().err
    assert "1 run of the sweep failed: runs/33" in error
    assert "use 48 x 48" in error
    assert (tmp_path / "runs" / "32" / "bundle" / "models" / "model.pt").is_file()
    assert medups("train", "-m", *recipe, "network.size=33,34", "output=runs/${network.size}") == 2


def test_a_sweep_of_upsamplers(phantoms, tmp_path, monkeypatch):
    """All recipe names, including ``bilinear``, work in a network without an upsampler option."""
    monkeypatch.chdir(tmp_path)
    recipe = [
        "data=phantom", f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", "data.split.train=['0001','0002']",
        "data.split.val=[]", "data.split.test=[]", "network=unet_3d", "network.module.channels=[4,8]",
        "network.module.strides=[2]", "network.inferer.roi_size=[16,16,16]", "network.spacing=[12,8,8]",
        "training=quick", "training.steps=1", "training.batch_size=1", "training.workers=0",
    ]  # fmt: skip
    assert medups("train", "-m", *recipe, "upsampler=bilinear,resfu") == 0
    for name, present, absent in (("bilinear", Interpolate, ReSFU), ("resfu", ReSFU, Interpolate)):
        network = load_bundle(tmp_path / "runs" / f"unet_3d-{name}-0" / "bundle").network
        kinds = {type(module) for module in network.modules()}
        assert (present in kinds, absent in kinds) == (True, False)


def test_a_sweep_distinguishes_failures_from_wrong_input(recipe, tmp_path, monkeypatch, capsys):
    """A run that fails at run time gives exit code 1 and is reported with its reason; the other runs finish."""
    monkeypatch.chdir(tmp_path)

    def full(bundle, *_):
        if "runs/1" in str(bundle):
            raise CheckpointError("No space left on device")

    monkeypatch.setattr("medups.workflows.train.write_bundle", full)
    assert medups("train", "-m", *recipe, "seed=0,1", "output=runs/${seed}") == 1
    assert "1 run of the sweep failed: runs/1: No space left on device" in capsys.readouterr().err
    assert (tmp_path / "runs" / "0" / "checkpoints" / "last.pt").is_file()


def test_a_sweep_with_an_unknown_setting(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert medups("train", "-m", *recipe, "nonsense=1,2") == 2
    assert "unknown setting" in capsys.readouterr().err


def test_a_sweep_counts_every_failed_run(recipe, tmp_path, monkeypatch, capsys):
    """Runs that fail in their settings have one output folder and are still reported one by one."""
    monkeypatch.chdir(tmp_path)
    assert medups("train", "-m", *recipe, "training.batch_size=0,-1") == 2
    error = capsys.readouterr().err
    assert "2 runs of the sweep failed" in error
    assert "got 0" in error
    assert "got -1" in error


def test_profile(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("medups.workflows.profile.time", SimpleNamespace(perf_counter=itertools.count().__next__))
    assert medups("train", "--profile", *recipe, f"output={tmp_path / 'run'}") == 0
    out = capsys.readouterr().out
    # by this clock every measurement takes a second: 8 steps of a batch of 2, each
    assert re.findall(r"^ *(data alone|network alone|training) +([\d.]+) *$", out, re.M) == [
        ("data alone", "16.0"), ("network alone", "16.0"), ("training", "16.0"),
    ]  # fmt: skip
    assert "Bottleneck: network" in out
    assert not (tmp_path / "run").exists()


def test_the_modern_recipe(recipe, tmp_path):
    """Deep supervision, a running mean, a cosine schedule and warm-up in one short run."""
    modern = ["training=modern", "training.epochs=null", "training.steps=4", "training.batch_size=2",
              "training.warmup_steps=2", "training.validations=1", "training.workers=0", "network=transunet_tiny",
              "network.size=32", f"output={tmp_path / 'run'}"]  # fmt: skip
    data = [item for item in recipe if not item.startswith(("training", "network"))]
    assert medups("train", *data, *modern) == 0
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert any(name.startswith("deep_heads.") for name in state["network"])
    assert any(not torch.equal(value, state["weights"][name]) for name, value in state["network"].items())
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    rates = [event.value / 3e-4 for event in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([0.5, 1, 1, 0.5])  # two steps of warm-up, then half a cosine
    assert load_bundle(tmp_path / "run" / "bundle").network(torch.zeros(1, 1, 32, 32)).shape == (1, 9, 32, 32)


def test_rates_and_measures_of_upsamplers(recipe, tmp_path, capsys):
    """A part at rate 0 keeps its initial weights; measures go to TensorBoard and the log; a wrong part is refused."""
    run = [*(item for item in recipe if "embed_channels" not in item), "upsampler=freqfusion", "training.steps=4",
           "upsampler.options.compressed_channels=8", "training.validations=1", "training.watch_every=2"]  # fmt: skip
    assert medups("train", *run, f"output={tmp_path / 'run'}", "training.rates.offsets=0") == 0
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    prefix = "upsamplers/decoder.steps.0.upsampler"
    assert [event.step for event in events.Scalars(f"{prefix}/lowpass_entropy")] == [2, 4]
    assert all(event.value == 0 for event in events.Scalars(f"{prefix}/offsets_update_norm"))
    assert all(event.value > 0 for event in events.Scalars(f"{prefix}/kernels_update_norm"))
    assert "step 4: decoder.steps.2.upsampler: lowpass_entropy" in (tmp_path / "run" / "log.txt").read_text()
    capsys.readouterr()
    assert medups("train", *run, f"output={tmp_path / 'other'}", "+training.rates.offset=1") == 2
    assert "training.rates: 'offset' is neither a part of an upsampler (embedding, kernels," in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_published_augmentation_flips_every_turned_slice():
    """As published: 0 to 3 quarter turns and one flip, which give four results with similar frequency."""
    slices = compose(["data.root=x", "network=transunet"]).training.augmentation["slices"]
    turn = instantiate(slices[0]).transforms[0]
    image = torch.arange(9.0).reshape(1, 3, 3)
    seen = Counter()
    for seed in range(200):
        turn.set_random_state(seed)
        seen[tuple(turn({"image": image, "label": image})["image"].flatten().int().tolist())] += 1
    flat = image[0].int()
    flips = {tuple(torch.rot90(flat, k).flip(axis).flatten().tolist()) for k in range(4) for axis in (0, 1)}
    assert len(flips) == 4
    assert set(seen) == flips
    assert max(seen.values()) < 2 * min(seen.values())


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        ({**SLURM, "SLURM_JOB_NAME": "train"}, (4, 2)),
        ({**SLURM, "SLURM_JOB_NAME": "bash"}, (4, 2)),  # an interactive allocation, which Fabric ignores
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}, (2, 3)),
    ],
)
def test_externally_launched_processes(monkeypatch, variables, devices):
    """The numbers of nodes and processes set by torchrun and SLURM override the recipe's."""
    for name in (*SLURM, "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("medups.training.distributed.Fabric", SimpleNamespace)
    options = vars(make_fabric("cpu", 1, 1, "32-true"))
    assert isinstance(options["plugins"], SLURMEnvironment) == ("SLURM_NNODES" in variables)
    assert (options["devices"], options["num_nodes"]) == (devices or (1, 1))
    assert options["strategy"] == ("ddp" if devices else "auto")
    assert is_launched() == (devices is not None)


def test_unavailable_devices(recipe, tmp_path, capsys):
    wrong = ["training.accelerator=cuda", "training.devices=4"]
    assert medups("train", *recipe, *wrong, f"output={tmp_path / 'run'}") == 2
    assert "training.accelerator, devices, num_nodes or precision: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_each_fold_has_its_own_output_folder():
    outputs = {compose(["data.root=x", f"fold={fold}"]).output for fold in ("null", 0, 4)}
    assert outputs == {f"runs/transunet-resfu-0{end}" for end in ("", "-fold0", "-fold4")}
    assert compose(["data.root=x", "fold=3"]).data.fold == 3


def test_an_ensemble_averages_probabilities(bundles, phantoms, tmp_path):
    assert medups("ensemble", *bundles, "--output", tmp_path / "both") == 0
    both, members = load_bundle(tmp_path / "both"), [load_bundle(folder) for folder in bundles]
    image = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = torch.stack([member.network(image).softmax(1) for member in members]).mean(0)
        torch.testing.assert_close(both.network(image).softmax(1), expected)
    assert both.split == {"train": ["0001", "0002", "0003"], "val": [], "test": ["0004"]}
    scan = phantoms / "img" / "img0004.nii.gz"
    assert medups("predict", "--model", tmp_path / "both", "--input", scan, "--output", tmp_path / "mask.nii.gz") == 0
    assert nib.load(tmp_path / "mask.nii.gz").shape == nib.load(scan).shape


def test_ensemble_members_must_match(bundles, recipe, tmp_path, capsys):
    assert medups("train", *recipe, "network.size=48", f"output={tmp_path / 'mismatched'}") == 0
    mismatched = tmp_path / "mismatched" / "bundle"
    assert medups("ensemble", bundles[0], mismatched, "--output", tmp_path / "both") == 2
    assert "inferer differs from" in capsys.readouterr().err
    assert medups("ensemble", bundles[0], "--output", tmp_path / "both") == 2
    assert medups("ensemble", bundles[0], bundles[0], "--output", tmp_path / "both") == 2
    assert not (tmp_path / "both").exists()
    before = (bundles[0] / "models" / "model.pt").read_bytes()
    assert medups("ensemble", *bundles, "--output", bundles[0]) == 2
    assert "is one of the members" in capsys.readouterr().err
    assert (bundles[0] / "models" / "model.pt").read_bytes() == before


def test_cases_that_a_bundle_does_not_list(bundles, phantoms, tmp_path, capsys):
    assert medups("ensemble", *bundles, "--output", tmp_path / "both") == 0
    options = ["--input", phantoms / "img", "--cases", "val", "--output", tmp_path / "masks"]
    assert medups("predict", "--model", tmp_path / "both", *options) == 2
    assert "lists no such cases" in capsys.readouterr().err


def test_published_recipe_of_swin_unet():
    training = compose(["data.root=x", "network=swin_unet", "training=published_swin"]).training
    published = compose(["data.root=x"]).training
    assert training.optimizer == {**published.optimizer, "lr": 0.05}
    assert (training.loss["lambda_dice"], training.loss["lambda_ce"]) == (0.6, 0.4)
    assert training.augmentation == published.augmentation


@pytest.mark.parametrize("upsampler", ["native", "resfu"])
@pytest.mark.parametrize("network", ["unet_3d", "swin_unetr", "dynunet"])
def test_recipes_in_3d(network, upsampler):
    """Each network takes patches of 96 voxels with its recipe; one override changes the upsampler."""
    chosen = [] if upsampler == "native" else [f"upsampler={upsampler}"]
    settings = compose(["data.root=x", f"network={network}", *chosen])
    assert settings.network.inferer["roi_size"] == [96, 96, 96]
    assert settings.training.schedule == "cosine"
    net = instantiate(network_spec(settings.network.module, settings.upsampler)).to("meta").eval()
    assert any(isinstance(module, ReSFU) for module in net.modules()) == (upsampler == "resfu")
    assert net(torch.zeros(1, 1, 96, 96, 96, device="meta")).shape == (1, 9, 96, 96, 96)


def test_preprocessed_volumes_from_scan_to_scores(bundles, phantoms, tmp_path, capsys):
    """A volume preprocessed by TransUNet and its raw scan get the same mask and the same Synapse scores."""
    h5py = pytest.importorskip("h5py")
    image, label = nib.load(phantoms / "img/img0004.nii.gz"), nib.load(phantoms / "label/label0004.nii.gz")
    grid = Grid(image.shape, image.affine)
    hounsfield = grid.to_canonical(np.asanyarray(image.dataobj)).astype(np.float32)
    ids = label_set("btcv13").convert(
        grid.to_canonical(np.asanyarray(label.dataobj)).astype(int), label_set("synapse8")
    )
    path = tmp_path / "test_vol_h5" / "case0004.npy.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["image"] = ((np.clip(hounsfield, -125, 275) + 125) / 400).transpose(0, 2, 1)
        file["label"] = ids.transpose(0, 2, 1)
    raw = phantoms / "img/img0004.nii.gz"
    for scan, mask in ((path.parent, "h5"), (raw, "raw/img0004.nii.gz")):
        assert medups("predict", "--model", bundles[0], "--input", scan, "--output", tmp_path / mask) == 0
    masks = [nib.load(tmp_path / name) for name in ("h5/case0004.nii.gz", "raw/img0004.nii.gz")]
    computed, expected = (Grid(m.shape, m.affine).to_canonical(np.asanyarray(m.dataobj)) for m in masks)
    assert (computed == expected).mean() > 0.999
    scored = ["evaluate", "--pred", tmp_path / "h5", "--label", path.parent, "--label-labels", "synapse8"]
    assert medups(*scored, "--output", tmp_path / "mm") == 2
    assert "the file stores no spacing in millimeters, which the physical protocol needs" in capsys.readouterr().err
    assert medups(*scored, "--protocol", "synapse", "--output", tmp_path / "h5-out") == 0
    labels = ["--label", phantoms / "label/label0004.nii.gz", "--label-labels", "btcv13", "--protocol", "synapse"]
    assert medups("evaluate", "--pred", tmp_path / "raw/img0004.nii.gz", *labels, "--output", tmp_path / "raw-out") == 0
    summaries = [json.loads((tmp_path / f"{kind}-out" / "summary.json").read_text()) for kind in ("h5", "raw")]
    means = [summary["mean"]["dice"] for summary in summaries]
    assert means[0] == pytest.approx(means[1], abs=0.01)
