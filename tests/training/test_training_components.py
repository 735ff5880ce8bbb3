"""Components of training against examples computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn

from medups.errors import InputError
from medups.instantiate import instantiate
from medups.settings.compose import compose
from medups.training.batches import BatchShareSampler
from medups.training.memory import estimate_memory
from medups.training.objective import objective
from medups.training.param_groups import parameter_groups
from medups.training.plan import Plan, rate_at
from medups.upsamplers import CARAFE, FreqFusion, ReSFU


@pytest.mark.parametrize(("accumulate", "processes"), [(1, 1), (2, 1), (1, 2), (3, 4)])
def test_processes_share_every_batch(accumulate, processes):
    orders = [list(BatchShareSampler(range(2, 5), 24, accumulate, rank, processes)) for rank in range(processes)]
    share = 24 // (accumulate * processes)
    for step in range(3):
        for part in range(accumulate):
            first = (2 + step) * 24 + part * 24 // accumulate
            positions = slice((step * accumulate + part) * share, (step * accumulate + part + 1) * share)
            assert [n for order in orders for n in order[positions]] == list(range(first, first + 24 // accumulate))


def test_more_processes_than_samples():
    with pytest.raises(InputError, match=r"batch_size=4 must be a multiple of accumulate x processes = 1 x 8"):
        BatchShareSampler(range(3), 4, 1, 0, 8)


def test_deep_supervision_by_hand():
    """Weight 1 for the first level, one half for the second, against the nearest pixels of the label."""
    torch.manual_seed(0)
    fine, coarse = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    label = torch.randint(0, 3, (2, 1, 8, 8))

    class Loss(nn.Module):
        def forward(self, logits, label):
            return nn.functional.cross_entropy(logits, label[:, 0].long())

    loss = objective(Loss())
    centers = label[:, 0, 1::2, 1::2]
    expected = Loss()(fine, label) + 0.5 * nn.functional.cross_entropy(coarse, centers)
    torch.testing.assert_close(loss([fine, coarse], label), expected)
    torch.testing.assert_close(loss(fine, label), Loss()(fine, label))
    stacked = torch.stack([fine, fine], 1)
    torch.testing.assert_close(loss(stacked, label), 1.5 * Loss()(fine, label))


def test_footprint_by_hand():
    """Layers store their inputs, the ReLU its result; a shared tensor counts once."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters())
    sample = {"image": torch.zeros(1, 16, 16), "label": torch.zeros(1, 16, 16, dtype=torch.int64)}
    need = estimate_memory(network, optimizer, sample, sample["image"], 2, workers=3)
    floats = 2 * 256 * (1 + 4 + 4) + 2 * 4  # the image, the results of ReLU and norm, the norm's mean and deviation
    assert need.activations == 4 * floats
    assert need.state == 4 * 4 * sum(p.numel() for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "needs about" in need.describe(torch.device("cpu"))
    parameters = sum(p.numel() for p in network.parameters())
    assert (
        estimate_memory(network, optimizer, sample, sample["image"], 2, workers=3, copies=1).state == 4 * 5 * parameters
    )


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


def rates_of(network, **arguments):
    groups = parameter_groups(network, 0.1, 0.01, **arguments)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    names = {id(p): name for name, p in network.named_parameters()}
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_rates_by_part():
    """The product of rate and decay stays the same; vectors have no decay; every parameter is in one group."""
    network = nn.Sequential(nn.Conv2d(4, 4, 1), CARAFE(2, 4))
    options = rates_of(network, decay_all=False, rates={"kernels": 500, "1.compress.*": 2, "offsets": 3})
    assert options["0.weight"] == (0.1, 0.01)
    assert options["0.bias"] == (0.1, 0)
    assert options["1.encode.weight"] == pytest.approx((50, 0.01 / 500))
    assert options["1.encode.bias"] == (50, 0)
    assert options["1.compress.weight"] == pytest.approx((0.2, 0.005))
    assert rates_of(network, rates={"kernels": 0})["1.encode.weight"] == (0, 0)
    with pytest.raises(ValueError, match=r"'1\.decode' is neither a part of an upsampler .*, such as '0\.weight'"):
        parameter_groups(network, 0.1, 0.01, rates={"1.decode": 2})


def test_default_rates_depend_on_the_optimizer():
    network = nn.Sequential(FreqFusion(2, 8, 8), ReSFU(2, 8, 8, embed_channels=8))
    adaptive, sgd = rates_of(network), rates_of(network, adaptive=False)
    assert {name for name, (rate, _) in sgd.items() if rate != 0.1} == set()
    assert adaptive["0.offsets.offset.weight"] == pytest.approx((0.001, 1))
    assert adaptive["0.highpass.bias"] == pytest.approx((0.01, 0.1))
    assert adaptive["1.detail.weight"] == pytest.approx((0.03, 0.01 / 0.3))
    assert adaptive["0.compress.weight"] == adaptive["1.query.weight"] == (0.1, 0.01)
    given = rates_of(network, rates={"offsets": None, "kernels": 1, "paired_difference": 1})
    assert {name.split(".")[1] for name, (rate, _) in given.items() if rate != 0.1} == {"offsets"}


def test_published_loss_by_hand():
    """Half cross-entropy, half soft Dice over the whole batch with a squared denominator, background included."""
    loss = instantiate(compose(["data.root=x"]).training.loss)
    assert isinstance(loss, DiceCELoss)
    torch.manual_seed(0)
    logits, label = torch.randn(3, 4, 5, 5), torch.randint(0, 4, (3, 1, 5, 5))
    soft, hard = logits.softmax(1), nn.functional.one_hot(label[:, 0], 4).movedim(-1, 1).float()
    dice = 0.0
    for c in range(4):
        intersection = (soft[:, c] * hard[:, c]).sum()
        denominator = (soft[:, c] ** 2).sum() + (hard[:, c] ** 2).sum()
        dice += (1 - (2 * intersection + 1e-5) / (denominator + 1e-5)) / 4
    expected = 0.5 * nn.functional.cross_entropy(logits, label[:, 0]) + 0.5 * dice
    torch.testing.assert_close(loss(logits, label), expected)


def test_steps_divide_the_rate_by_ten():
    """12 epochs of 10 steps: a tenth after the 8th, a hundredth after the 11th, and a warm-up before."""
    plan = Plan(120, 4, 10, 0.9, "steps", milestones=(8 / 12, 11 / 12), warmup_steps=4)
    rates = [rate_at(step, plan) for step in (0, 3, 4, 79, 80, 109, 110, 119)]
    assert rates == pytest.approx([0.25, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
