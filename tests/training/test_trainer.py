"""The training loop: it learns, is reproducible bit for bit, and resumes interrupted runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from medups.io.checkpoints import load_checkpoint
from tests.training.blobs import PLAN, StopError, run, weights


@pytest.mark.parametrize(
    ("ema_decay", "precision"), [(None, "32-true"), (0.8, "32-true"), (None, "bf16-mixed"), (None, "16-mixed")]
)
@pytest.mark.parametrize("stop_after", [1, 4, 6, 11])
def test_resumes_bit_for_bit(tmp_path, stop_after, ema_decay, precision):
    plan = replace(PLAN, ema_decay=ema_decay)
    expected, losses = run(tmp_path / "uninterrupted", plan=plan, precision=precision)
    with pytest.raises(StopError):
        run(tmp_path / "interrupted", stop_after, plan=plan, precision=precision)
    best, resumed_losses = run(tmp_path / "interrupted", plan=plan, precision=precision)
    assert best["precision"] == expected["precision"]
    assert bool(best["precision"]) == (precision == "16-mixed")
    for kind in ("network", "weights"):
        assert all(torch.equal(value, weights(best, kind)[name]) for name, value in weights(expected, kind).items())
    assert resumed_losses == losses[len(losses) - len(resumed_losses) :]
    assert losses[-1] < losses[0]


def test_best_is_the_best_validation_score(tmp_path):
    best, _ = run(tmp_path, scores={3: 0.2, 6: 0.9, 9: 0.5, 12: 0.8})
    assert best["step"] == load_checkpoint(tmp_path / "best.pt")["step"] == 6
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 12


def test_the_running_mean_is_validated_and_saved(tmp_path):
    """Its definition, step by step: the first step's weights, then 0.7 of the mean and 0.3 of the step's."""
    plan = replace(PLAN, validate_every=1, ema_decay=0.7)
    steps, validated = [], []

    def record(network):
        validated.append({name: value.clone() for name, value in network.state_dict().items()})
        steps.append(weights(tmp_path / "last.pt", "network") if (tmp_path / "last.pt").is_file() else None)

    best, _ = run(tmp_path, plan=plan, validate=record)
    steps = [*steps[1:], weights(best, "network")]
    mean = steps[0]
    for step, seen in zip(steps[1:], validated[1:], strict=True):
        mean = {name: 0.7 * mean[name] + 0.3 * value for name, value in step.items()}
        torch.testing.assert_close(seen, mean)
    assert not torch.equal(mean["0.weight"], steps[-1]["0.weight"])


@pytest.mark.parametrize("decay", [0.9, 0.9995])
def test_a_running_mean_does_not_change_integers(tmp_path, decay):
    """Swin's index tables: a mean of equal integers, rounded down, would differ."""
    indices = torch.arange(2000)

    class Indexed(nn.Conv2d):
        def __init__(self):
            super().__init__(1, 2, 1)
            self.register_buffer("relative_position_index", indices.clone())

    best, _ = run(tmp_path, plan=replace(PLAN, ema_decay=decay), network=Indexed())
    assert torch.equal(weights(best)["relative_position_index"], indices)
    assert not torch.equal(weights(best)["weight"], weights(best, "network")["weight"])


def test_resumed_momenta_follow_the_weights(tmp_path):
    """Setup moves the network, and the momenta follow. A different dtype stands in for a different device."""

    class Moving(Fabric):
        def setup(self, network, *optimizers, **options):
            network.double().register_forward_pre_hook(lambda _, inputs: tuple(value.double() for value in inputs))
            return super().setup(network, *optimizers, **options)

    expected, _ = run(tmp_path / "uninterrupted", kind=Moving)
    with pytest.raises(StopError):
        run(tmp_path / "interrupted", 7, kind=Moving)
    best, _ = run(tmp_path / "interrupted", kind=Moving)
    for name, value in weights(expected, "network").items():
        torch.testing.assert_close(weights(best, "network")[name], value, rtol=0, atol=1e-6)
    momentum = best["optimizer"]["state"][0]["momentum_buffer"]
    assert momentum.dtype == torch.float64


def test_stops_without_a_better_score(tmp_path):
    scores = {3: 0.5, 6: 0.4, 9: 0.5, 12: 0.9}
    best, losses = run(tmp_path, scores=scores, plan=replace(PLAN, patience=2))
    assert (best["step"], len(losses)) == (3, 9)
    assert run(tmp_path, scores=scores, plan=replace(PLAN, patience=2))[1] == []  # and stays stopped
    assert len(run(tmp_path / "improving", scores={**scores, 9: 0.6}, plan=replace(PLAN, patience=2))[1]) == 12


def test_accumulated_batches_take_the_same_steps(tmp_path):
    """The loss is a mean over samples; dropout, which would draw separately for each part, is off."""
    expected, losses = run(tmp_path / "full", dropout=0)
    accumulated, accumulated_losses = run(tmp_path / "accumulated", plan=replace(PLAN, accumulate=2), dropout=0)
    assert accumulated_losses == pytest.approx(losses, rel=1e-5)
    for name, value in weights(expected).items():
        torch.testing.assert_close(value, weights(accumulated)[name])
