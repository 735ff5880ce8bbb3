"""The loop: it learns, repeats itself bit by bit, and goes on where it stopped."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from monai.losses import DiceCELoss
from torch import nn

from medups.cli.settings import compose
from medups.config import build
from medups.errors import InputError
from medups.training.checkpoint import load_checkpoint, save_checkpoint
from medups.training.groups import parameter_groups
from medups.training.loop import Hooks, NonFiniteLossError, Plan, rate_at, train
from medups.upsamplers import CARAFE

PLAN = Plan(steps=12, batch_size=4, validate_every=3, poly_power=0.9)


class Blobs(torch.utils.data.Dataset):
    """Sample n: noise, brighter where the label is 1."""

    def __len__(self):
        return PLAN.steps * PLAN.batch_size

    def __getitem__(self, n):
        noise = torch.Generator().manual_seed(n)
        label = (torch.rand(1, 8, 8, generator=noise) > 0.6).long()
        return {"image": label + 0.3 * torch.randn(1, 8, 8, generator=noise), "label": label}


class StopError(Exception):
    pass


def run(folder, stop_after=None, scores=None, loss=None, plan=PLAN, validate=None, dropout=0.3):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(dropout), nn.ReLU(), nn.Conv2d(4, 2, 1))
    losses = []

    def progress(step, value):
        losses.append(value)
        if step == stop_after:
            raise StopError

    hooks = Hooks(
        validate=lambda network, step: scores[step] if scores else validate and validate(network),
        scalars=lambda *_: None,
        progress=progress,
        log=lambda _: None,
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    criterion = loss or nn.CrossEntropyLoss()
    fabric = Fabric(accelerator="cpu", devices=1)
    best = train(
        fabric, network, lambda x, y: criterion(x, y[:, 0]), optimizer, Blobs(), plan, hooks, folder, {"of": "test"}, 7
    )
    return best, losses


def weights(path, kind="weights"):
    return load_checkpoint(path)[kind]


@pytest.mark.parametrize("ema_decay", [None, 0.8])
@pytest.mark.parametrize("stop_after", [1, 4, 6, 11])
def test_resumes_bit_by_bit(tmp_path, stop_after, ema_decay):
    plan = replace(PLAN, ema_decay=ema_decay)
    whole, losses = run(tmp_path / "whole", plan=plan)
    with pytest.raises(StopError):
        run(tmp_path / "parts", stop_after, plan=plan)
    best, rest = run(tmp_path / "parts", plan=plan)
    for kind in ("network", "weights"):
        assert all(torch.equal(value, weights(best, kind)[name]) for name, value in weights(whole, kind).items())
    assert rest == losses[len(losses) - len(rest) :]
    assert losses[-1] < losses[0]


def test_best_is_the_best_validation_score(tmp_path):
    best, _ = run(tmp_path, scores={3: 0.2, 6: 0.9, 9: 0.5, 12: 0.8})
    assert best.name == "best.pt"
    assert load_checkpoint(best)["step"] == 6
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 12


def test_the_running_mean_is_validated_and_kept(tmp_path):
    """Its definition, step by step: the first step's weights, then 0.7 of the mean and 0.3 of the step's."""
    plan = replace(PLAN, validate_every=1, ema_decay=0.7)
    steps, validated = [], []

    def keep(network):
        validated.append({name: value.clone() for name, value in network.state_dict().items()})
        steps.append(weights(tmp_path / "last.pt", "network") if (tmp_path / "last.pt").is_file() else None)

    best, _ = run(tmp_path, plan=plan, validate=keep)
    steps = [*steps[1:], weights(best, "network")]
    mean = steps[0]
    for step, seen in zip(steps[1:], validated[1:], strict=True):
        mean = {name: 0.7 * mean[name] + 0.3 * value for name, value in step.items()}
        torch.testing.assert_close(seen, mean)
    assert not torch.equal(mean["0.weight"], steps[-1]["0.weight"])


def test_nan_stops_and_keeps_the_last_state(tmp_path):
    calls = []

    def loss(logits, label):
        calls.append(1)
        return nn.functional.cross_entropy(logits, label) * (math.nan if len(calls) == 8 else 1)

    with pytest.raises(NonFiniteLossError, match=r"step 8 is nan \(samples 28 to 31\)"):
        run(tmp_path, loss=loss)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 6


def test_rate_is_poly():
    plan = Plan(steps=100, batch_size=1, validate_every=1, poly_power=0.9)
    assert rate_at(0, plan) == 1
    assert rate_at(50, plan) == pytest.approx(0.5**0.9)
    warm = Plan(steps=100, batch_size=1, validate_every=1, poly_power=0.9, warmup_steps=10)
    assert [rate_at(step, warm) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1])


def test_cosine_rate():
    plan = Plan(steps=110, batch_size=1, validate_every=1, poly_power=0.9, schedule="cosine", warmup_steps=10)
    assert [rate_at(step, plan) for step in (0, 9, 10, 35, 60, 110)] == pytest.approx(
        [0.1, 1, 1, (1 + math.sqrt(0.5)) / 2, 0.5, 0]
    )


def test_a_batch_in_parts_takes_the_same_steps(tmp_path):
    """The loss is a mean over samples here, and dropout, which would draw anew for each part, is off."""
    whole, losses = run(tmp_path / "whole", dropout=0)
    parts, same = run(tmp_path / "parts", plan=replace(PLAN, accumulate=2), dropout=0)
    assert same == pytest.approx(losses, rel=1e-5)
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(parts)[name])


def test_parameter_groups():
    """Rate times decay is the same for upsamplers; vectors may go without decay; every parameter is in one group."""
    network = nn.Sequential(nn.Conv2d(4, 4, 1), CARAFE(2, 4))
    groups = parameter_groups(network, 0.1, 0.01, decay_all=False, upsampler_rate=500)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert found[id(network[0].weight)] == (0.1, 0.01)
    assert found[id(network[0].bias)] == (0.1, 0)
    assert found[id(network[1].encode.weight)] == pytest.approx((50, 0.01 / 500))
    assert found[id(network[1].encode.bias)] == (50, 0)
    assert len(parameter_groups(network, 0.1, 0.01)) == 1


def test_published_loss_by_hand():
    """Half cross-entropy, half soft Dice over the whole batch with a squared denominator, background included."""
    spec = compose(["data.root=x"])["training"]["loss"]
    loss = build(spec)
    assert isinstance(loss, DiceCELoss)
    torch.manual_seed(0)
    logits, label = torch.randn(3, 4, 5, 5), torch.randint(0, 4, (3, 1, 5, 5))
    soft, hard = logits.softmax(1), nn.functional.one_hot(label[:, 0], 4).movedim(-1, 1).float()
    dice = 0.0
    for c in range(4):
        shared = (soft[:, c] * hard[:, c]).sum()
        both = (soft[:, c] ** 2).sum() + (hard[:, c] ** 2).sum()
        dice += (1 - (2 * shared + 1e-5) / (both + 1e-5)) / 4
    expected = 0.5 * nn.functional.cross_entropy(logits, label[:, 0]) + 0.5 * dice
    torch.testing.assert_close(loss(logits, label), expected)


def test_damaged_checkpoints_are_told(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged or other file"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": lambda: 2})
    assert load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
