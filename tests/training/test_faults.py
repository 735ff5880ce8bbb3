"""Faults while training: what is reported, and what is intact afterward."""

from __future__ import annotations

import errno
import math
import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

from medups.data.sampling import SampleError
from medups.errors import InputError
from medups.io.checkpoints import CheckpointError, load_checkpoint
from medups.training.batches import DataWorkerError
from medups.training.trainer import NonFiniteLossError
from tests.training.blobs import PLAN, Blobs, StopError, run, weights


def test_nan_stops_and_keeps_the_last_state(tmp_path):
    calls = []

    def loss(logits, label):
        calls.append(1)
        return nn.functional.cross_entropy(logits, label) * (math.nan if len(calls) == 8 else 1)

    with pytest.raises(NonFiniteLossError, match="step 8 is nan for the batch 28, 29, 30, 31;"):
        run(tmp_path, loss=loss)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 6


class InfiniteGradient(torch.autograd.Function):
    """The identity, with an infinite gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path, clip_norm):
    """The message describes the samples, and no weight becomes NaN."""
    calls = []

    class Named(Blobs):
        def describe(self, n):
            return f"case {n // 10} slice {n % 10}"

    def loss(logits, label):
        calls.append(1)
        value = nn.functional.cross_entropy(logits, label)
        return InfiniteGradient.apply(value) if len(calls) == 6 else value

    named = "case 2 slice 0, case 2 slice 1, case 2 slice 2, case 2 slice 3"
    with pytest.raises(NonFiniteLossError, match=f"the gradient norm of step 6 is (nan|inf) for the batch {named};"):
        run(tmp_path, loss=loss, plan=replace(PLAN, clip_norm=clip_norm), stream=Named())
    state = load_checkpoint(tmp_path / "last.pt")
    assert state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_a_scaler_that_finds_no_scale_gives_up(tmp_path, monkeypatch):
    monkeypatch.setattr("medups.training.trainer._MAX_SKIPPED_STEPS", 5)
    losses = []

    def loss(logits, label):
        losses.append(nn.functional.cross_entropy(logits, label))
        return InfiniteGradient.apply(losses[-1])

    with pytest.raises(NonFiniteLossError, match=r"gradient norm of step 6 is (inf|nan)"):
        run(tmp_path, loss=loss, precision="16-mixed")
    assert len(losses) == 6


def test_processes_with_different_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr("medups.training.trainer.gathered_objects", lambda local: [local, local + 3])
    with pytest.raises(InputError, match=r"checkpoints of steps \{0, 3\}; choose a folder that all nodes share"):
        run(tmp_path)


def test_a_damaged_checkpoint_is_reported_and_skipped(tmp_path):
    expected, losses = run(tmp_path / "uninterrupted")
    with pytest.raises(StopError):
        run(tmp_path / "interrupted", 11)
    last = tmp_path / "interrupted" / "last.pt"
    last.write_bytes(last.read_bytes()[:-50])
    messages = []
    best, resumed_losses = run(tmp_path / "interrupted", log=messages.append)
    assert "last.pt: expected a checkpoint of tensors" in messages[0]
    assert "resuming after step 6" in messages[1]
    assert resumed_losses == losses[6:]
    assert all(torch.equal(value, weights(best)[name]) for name, value in weights(expected).items())


def test_no_intact_checkpoint(tmp_path):
    run(tmp_path)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"last.pt.*previous.pt.*no intact checkpoint is left"):
        run(tmp_path)


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    calls = []

    def sync(handle):
        calls.append(handle)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("medups.io.files.os.fsync", sync)
    with pytest.raises(CheckpointError, match=r"No space left on device.*the previous checkpoint is intact"):
        run(tmp_path)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]
    monkeypatch.undo()
    best, _ = run(tmp_path)
    assert all(torch.equal(v, weights(best)[n]) for n, v in weights(run(tmp_path / "uninterrupted")[0]).items())


class Broken(Blobs):
    def __init__(self, n, fault):
        self.n, self.fault = n, fault

    def __getitem__(self, n):
        if n == self.n:
            self.fault()
        return super().__getitem__(n)


def _no_such_slice():
    raise SampleError("sample 21, case 0005 slice 3: OSError: cut")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_cannot_be_prepared(tmp_path, workers):
    with pytest.raises(DataWorkerError, match=r"could not be prepared: .*sample 21, case 0005 slice 3: OSError: cut"):
        run(tmp_path, stream=Broken(21, _no_such_slice), plan=replace(PLAN, workers=workers))
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 3


def test_a_data_worker_that_is_killed(tmp_path):
    stream = Broken(21, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataWorkerError, match=r"died \((Killed|no message)\).*lower training.workers"):
        run(tmp_path, stream=stream, plan=replace(PLAN, workers=1))
