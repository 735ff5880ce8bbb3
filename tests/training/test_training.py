"""The loop: it learns, repeats itself bit by bit, and goes on where it stopped."""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from monai.losses import DiceCELoss
from torch import nn

from medups.data.labels import LabelSet
from medups.data.sampling import SampleError
from medups.errors import InputError
from medups.instantiate import instantiate
from medups.io.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from medups.settings import compose
from medups.tasks import VolumeTask
from medups.training.batches import BatchShareSampler, DataWorkerError
from medups.training.memory import estimate_memory
from medups.training.objective import objective
from medups.training.param_groups import parameter_groups
from medups.training.plan import Plan, rate_at
from medups.training.trainer import Hooks, NonFiniteLossError, Trainer
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


def run(
    folder,
    stop_after=None,
    scores=None,
    loss=None,
    plan=PLAN,
    validate=None,
    dropout=0.3,
    precision="32-true",
    stream=None,
    log=None,
    kind=Fabric,
    network=None,
):
    torch.manual_seed(0)
    network = network or nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(dropout), nn.ReLU(), nn.Conv2d(4, 2, 1)
    )
    losses = []

    def progress(step, value):
        losses.append(value)
        if step == stop_after:
            raise StopError

    hooks = Hooks(
        validate=lambda network, step: scores[step] if scores else validate and validate(network),
        scalars=lambda *_: None,
        progress=progress,
        log=log or (lambda _: None),
        describe=getattr(stream, "describe", str),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    criterion = loss or nn.CrossEntropyLoss()
    if precision == "16-mixed":  # Fabric takes it on a GPU alone, but for a plugin of one's own
        scaler = torch.amp.GradScaler("cpu", growth_interval=2)
        made = kind(accelerator="cpu", devices=1, plugins=MixedPrecision(precision, "cpu", scaler))
    else:
        made = kind(accelerator="cpu", devices=1, precision=precision)
    trainer = Trainer(
        fabric=made,
        task=VolumeTask(LabelSet("blobs", {1: "blob"})),
        network=network,
        loss=lambda x, y: criterion(x.float(), y[:, 0]),
        optimizer=optimizer,
        stream=stream or Blobs(),
        plan=plan,
        hooks=hooks,
        folder=folder,
        identity={"of": "test"},
        seed=7,
    )
    return trainer.run(), losses


def weights(state, kind="weights"):
    return (load_checkpoint(state) if isinstance(state, Path) else state)[kind]


@pytest.mark.parametrize(
    ("ema_decay", "precision"), [(None, "32-true"), (0.8, "32-true"), (None, "bf16-mixed"), (None, "16-mixed")]
)
@pytest.mark.parametrize("stop_after", [1, 4, 6, 11])
def test_resumes_bit_by_bit(tmp_path, stop_after, ema_decay, precision):
    plan = replace(PLAN, ema_decay=ema_decay)
    whole, losses = run(tmp_path / "whole", plan=plan, precision=precision)
    with pytest.raises(StopError):
        run(tmp_path / "parts", stop_after, plan=plan, precision=precision)
    best, rest = run(tmp_path / "parts", plan=plan, precision=precision)
    assert best["precision"] == whole["precision"]
    assert bool(best["precision"]) == (precision == "16-mixed")
    for kind in ("network", "weights"):
        assert all(torch.equal(value, weights(best, kind)[name]) for name, value in weights(whole, kind).items())
    assert rest == losses[len(losses) - len(rest) :]
    assert losses[-1] < losses[0]


def test_best_is_the_best_validation_score(tmp_path):
    best, _ = run(tmp_path, scores={3: 0.2, 6: 0.9, 9: 0.5, 12: 0.8})
    assert best["step"] == load_checkpoint(tmp_path / "best.pt")["step"] == 6
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


@pytest.mark.parametrize("decay", [0.9, 0.9995])
def test_a_running_mean_leaves_whole_numbers_as_they_are(tmp_path, decay):
    """Swin's tables of indices: a mean of equal numbers, rounded down, would be others."""
    indices = torch.arange(2000)

    class Indexed(nn.Conv2d):
        def __init__(self):
            super().__init__(1, 2, 1)
            self.register_buffer("relative_position_index", indices.clone())

    best, _ = run(tmp_path, plan=replace(PLAN, ema_decay=decay), network=Indexed())
    assert torch.equal(weights(best)["relative_position_index"], indices)
    assert not torch.equal(weights(best)["weight"], weights(best, "network")["weight"])


def test_nan_stops_and_keeps_the_last_state(tmp_path):
    calls = []

    def loss(logits, label):
        calls.append(1)
        return nn.functional.cross_entropy(logits, label) * (math.nan if len(calls) == 8 else 1)

    with pytest.raises(NonFiniteLossError, match="step 8 is nan for the batch 28, 29, 30, 31;"):
        run(tmp_path, loss=loss)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 6


class NoGradient(torch.autograd.Function):
    """A value that is one, with a gradient that is not."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path, clip_norm):
    """The samples are named as the data knows them, and no weight became a NaN."""
    calls = []

    class Named(Blobs):
        def describe(self, n):
            return f"case {n // 10} slice {n % 10}"

    def loss(logits, label):
        calls.append(1)
        value = nn.functional.cross_entropy(logits, label)
        return NoGradient.apply(value) if len(calls) == 6 else value

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
        return NoGradient.apply(losses[-1])

    with pytest.raises(NonFiniteLossError, match=r"gradient norm of step 6 is (inf|nan)"):
        run(tmp_path, loss=loss, precision="16-mixed")
    assert len(losses) == 6


def test_processes_that_find_other_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr("medups.training.trainer.gathered_objects", lambda local: [local, local + 3])
    with pytest.raises(InputError, match=r"checkpoints of steps \{0, 3\}; choose a folder that all nodes share"):
        run(tmp_path)


def test_resumes_where_the_weights_are(tmp_path):
    """Momenta go where setting up moves the network. Another type stands for another device, which is not to be had."""

    class Moving(Fabric):
        def setup(self, network, *optimizers, **options):
            network.double().register_forward_pre_hook(lambda _, inputs: tuple(value.double() for value in inputs))
            return super().setup(network, *optimizers, **options)

    whole, _ = run(tmp_path / "whole", kind=Moving)
    with pytest.raises(StopError):
        run(tmp_path / "parts", 7, kind=Moving)
    best, _ = run(tmp_path / "parts", kind=Moving)
    for name, value in weights(whole, "network").items():
        torch.testing.assert_close(weights(best, "network")[name], value, rtol=0, atol=1e-6)
    momentum = best["optimizer"]["state"][0]["momentum_buffer"]
    assert momentum.dtype == torch.float64


def test_a_damaged_checkpoint_is_told_and_skipped(tmp_path):
    whole, losses = run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "parts", 11)
    last = tmp_path / "parts" / "last.pt"
    last.write_bytes(last.read_bytes()[:-50])
    said = []
    best, rest = run(tmp_path / "parts", log=said.append)
    assert "last.pt: expected a checkpoint of tensors" in said[0]
    assert "resuming after step 6" in said[1]
    assert rest == losses[6:]
    assert all(torch.equal(value, weights(best)[name]) for name, value in weights(whole).items())


def test_no_checkpoint_that_is_whole(tmp_path):
    run(tmp_path)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"last.pt.*previous.pt.*no intact checkpoint is left"):
        run(tmp_path)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
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
    assert all(torch.equal(v, weights(best)[n]) for n, v in weights(run(tmp_path / "whole")[0]).items())


def test_a_disk_that_fills_up_within_a_file(tmp_path):
    """torch then fails to close the file, and says nothing of the disk."""
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"last.pt: cannot be written \(File too large\); the previous checkpoint"
        ):
            save_checkpoint(path, {"step": torch.zeros(200_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_stops_without_a_better_score(tmp_path):
    scores = {3: 0.5, 6: 0.4, 9: 0.5, 12: 0.9}
    best, losses = run(tmp_path, scores=scores, plan=replace(PLAN, patience=2))
    assert (best["step"], len(losses)) == (3, 9)
    assert run(tmp_path, scores=scores, plan=replace(PLAN, patience=2))[1] == []  # and stays stopped
    assert len(run(tmp_path / "other", scores={**scores, 9: 0.6}, plan=replace(PLAN, patience=2))[1]) == 12


class Broken(Blobs):
    def __init__(self, n, deed):
        self.n, self.deed = n, deed

    def __getitem__(self, n):
        if n == self.n:
            self.deed()
        return super().__getitem__(n)


def _no_such_slice():
    raise SampleError("sample 21, case 0005 slice 3: OSError: cut")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_cannot_be_made(tmp_path, workers):
    with pytest.raises(DataWorkerError, match=r"could not be prepared: .*sample 21, case 0005 slice 3: OSError: cut"):
        run(tmp_path, stream=Broken(21, _no_such_slice), plan=replace(PLAN, workers=workers))
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 3


def test_a_data_worker_that_is_killed(tmp_path):
    stream = Broken(21, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataWorkerError, match=r"died \((Killed|no message)\).*lower training.workers"):
        run(tmp_path, stream=stream, plan=replace(PLAN, workers=1))


@pytest.mark.parametrize(("parts", "processes"), [(1, 1), (2, 1), (1, 2), (3, 4)])
def test_processes_share_every_batch(parts, processes):
    orders = [list(BatchShareSampler(range(2, 5), 24, parts, rank, processes)) for rank in range(processes)]
    share = 24 // (parts * processes)
    for step in range(3):
        for part in range(parts):
            first = (2 + step) * 24 + part * 24 // parts
            at = slice((step * parts + part) * share, (step * parts + part + 1) * share)
            assert [n for order in orders for n in order[at]] == list(range(first, first + 24 // parts))


def test_more_processes_than_samples():
    with pytest.raises(InputError, match=r"batch_size=4 must be a multiple of accumulate x processes = 1 x 8"):
        BatchShareSampler(range(3), 4, 1, 0, 8)


def test_deep_supervision_by_hand():
    """The first level whole, the second a half, against the label's nearest pixels."""
    torch.manual_seed(0)
    fine, coarse = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    label = torch.randint(0, 3, (2, 1, 8, 8))

    class Loss(nn.Module):
        def forward(self, logits, label):
            return nn.functional.cross_entropy(logits, label[:, 0].long())

    loss = objective(Loss())
    centres = label[:, 0, 1::2, 1::2]
    expected = Loss()(fine, label) + 0.5 * nn.functional.cross_entropy(coarse, centres)
    torch.testing.assert_close(loss([fine, coarse], label), expected)
    torch.testing.assert_close(loss(fine, label), Loss()(fine, label))
    stacked = torch.stack([fine, fine], 1)
    torch.testing.assert_close(loss(stacked, label), 1.5 * Loss()(fine, label))


def test_footprint_by_hand():
    """Two convolutions keep what they read, the ReLU between them its result, which the second reads."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters())
    sample = {"image": torch.zeros(1, 16, 16), "label": torch.zeros(1, 16, 16, dtype=torch.int64)}
    need = estimate_memory(network, optimizer, sample, 2, workers=3)
    floats = 2 * 256 * (1 + 4 + 4) + 2 * 4  # the image, the ReLU's, the norm's with mean and deviation
    assert need.activations == 4 * floats
    assert need.state == 4 * 4 * sum(p.numel() for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "needs about" in need.describe(torch.device("cpu"))
    learnt = sum(p.numel() for p in network.parameters())
    assert estimate_memory(network, optimizer, sample, 2, workers=3, copies=1).state == 4 * 5 * learnt


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
    loss = instantiate(compose(["data.root=x"]).training.loss)
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
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="damaged file or another kind"):
        load_checkpoint(path)
    save_checkpoint(path, {"weights": torch.arange(100.0)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(100.0).numpy().tobytes()) + 50] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged file or another kind \(member .* fails its checksum\)"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": lambda: 2})
    assert load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_half_a_checkpoint_of_a_killed_process_goes(tmp_path):
    """A file that is like it, but the user's, stays, and so does one that may still be written."""
    hour_ago = time.time() - 3600
    for name in (".last.pt.a1b2c3d4.part", ".last.pt.mine.part", ".last.pt.old"):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (hour_ago, hour_ago))
    (tmp_path / ".last.pt.e5f6a7b8.part").write_bytes(b"half")
    save_checkpoint(tmp_path / "last.pt", {"step": 1})
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == [".last.pt.e5f6a7b8.part", ".last.pt.mine.part", ".last.pt.old", "last.pt"]
