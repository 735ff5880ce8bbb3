"""Runs in separate processes: distributed over several, and killed at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CLI = ("-m", "medups.cli.main", "train")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MEDUPS_TRACEBACK": "1"}


@pytest.fixture
def recipe(phantoms, tmp_path):
    """A network with group norms and no dropout, whose result does not depend on how a batch is divided."""
    return [
        "data=phantom", f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", "data.split.train=['0001','0002']",
        "data.split.val=['0003','0004']", "data.split.test=[]", "network=unet_3d", "network.spacing=[8,8,8]",
        "network.module.channels=[3,6]", "network.module.strides=[2]", "+network.module.norm=[group,{num_groups: 3}]",
        "network.inferer.roi_size=[16,16,16]", "training.steps=6", "training.batch_size=4", "training.validations=2",
        "training.workers=1", "training.warmup_steps=2", "training.optimizer._target_=torch.optim.SGD",
        "training.optimizer.lr=0.3", "training.save_seconds=0",
        "training.accelerator=cpu",
    ]  # fmt: skip


def losses(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in ("train/loss", "val/dice")}


def final(folder):
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)


def start(arguments, cwd):
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    ("launch", "accumulate"), [("torchrun", 1), pytest.param("devices", 2, marks=pytest.mark.full)]
)
def test_two_processes_with_half_the_batch_match_one(recipe, tmp_path, launch, accumulate):
    recipe = [*recipe, f"training.accumulate={accumulate}"]
    single = start([*CLI, *recipe, "output=single"], tmp_path)
    assert single.returncode == 0, single.stderr
    command = [*TORCHRUN, *CLI] if launch == "torchrun" else [*CLI, "training.devices=2"]
    double = start([*command, *recipe, "output=double"], tmp_path)
    assert double.returncode == 0, double.stderr
    assert double.stdout.count("6 steps of 4 on 2 x cpu") == 1  # only one process prints
    first, second = losses(tmp_path / "single"), losses(tmp_path / "double")
    # a borderline voxel may change its class, which affects Dice more than the loss
    for name, tolerance in (("train/loss", {"rel": 1e-4}), ("val/dice", {"abs": 1e-3})):
        (steps, values), (second_steps, second_values) = (zip(*run[name], strict=True) for run in (first, second))
        assert second_steps == steps
        assert second_values == pytest.approx(values, **tolerance)
    assert len({value for _, value in first["train/loss"]}) == 6
    network = final(tmp_path / "double")["network"]
    for name, value in final(tmp_path / "single")["network"].items():
        torch.testing.assert_close(network[name], value, rtol=1e-3, atol=1e-4)


def test_all_processes_validate_one_network(tmp_path):
    """Batch norms see different samples in each process; all processes use the statistics of the first."""
    script = Path(__file__).with_name("validated_networks.py")
    for ema_decay in ("none", "0.9"):
        done = start([*TORCHRUN, str(script), ema_decay], tmp_path)
        assert done.returncode == 0, done.stderr
        first, second = (torch.load(tmp_path / f"seen{rank}.pt", weights_only=True) for rank in (0, 1))
        assert len(first) == len(second) == 2
        assert (first[0]["1.running_var"] - 1).abs().min() > 0.05
        for a, b in zip(first, second, strict=True):
            assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_run_killed_at_random_ends_in_the_same_weights(recipe, tmp_path):
    reference = start([*CLI, *recipe, "training.steps=12", "output=reference"], tmp_path)
    assert reference.returncode == 0, reference.stderr
    rng = random.Random(0)
    command = [sys.executable, *CLI, *recipe, "training.steps=12", "output=killed"]
    reached = []
    for _ in range(30):  # each attempt writes a checkpoint of at least one of 12 steps, so that 13 are enough
        run = subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        wait_for_steps(tmp_path / "killed" / "checkpoints", run)
        time.sleep(rng.random() * 0.6)
        if run.poll() is not None:
            assert run.returncode == 0, run.communicate()[1]
            break
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        reached.append(final(tmp_path / "killed")["step"])
    else:
        pytest.fail(f"the run does not come to its end: killed at steps {reached}")
    assert len(reached) > 1
    expected = final(tmp_path / "reference")
    result = final(tmp_path / "killed")
    assert result["step"] == expected["step"] == 12
    for kind in ("network", "weights"):
        assert all(torch.equal(value, result[kind][name]) for name, value in expected[kind].items())


def wait_for_steps(checkpoints, run):
    """Wait until this process has written a checkpoint or ended."""
    started = time.time()
    while run.poll() is None:
        if any(path.stat().st_mtime > started for path in checkpoints.glob("last.pt")):
            return
        if time.time() > started + 120:
            os.killpg(run.pid, signal.SIGKILL)
            pytest.fail("no checkpoint in two minutes")
        time.sleep(0.02)


@pytest.mark.full
def test_more_processes_than_a_batch_has_samples(recipe, tmp_path):
    result = start([*CLI, *recipe, "training.batch_size=3", "training.devices=2", "output=out"], tmp_path)
    assert result.returncode == 2
    assert "training.batch_size=3 must be a multiple of accumulate x processes = 1 x 2" in result.stderr
    assert not (tmp_path / "out").exists()
