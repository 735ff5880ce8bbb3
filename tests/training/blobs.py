"""A short run on noise with bright blobs, shared by tests of the trainer."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from medups.data.labels import LabelSet
from medups.io.checkpoints import load_checkpoint
from medups.tasks import VolumeTask
from medups.training.plan import Plan
from medups.training.trainer import Hooks, Trainer

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
    if precision == "16-mixed":  # Fabric supports it only on a GPU, except with a custom plugin
        scaler = torch.amp.GradScaler("cpu", growth_interval=2)
        fabric = kind(accelerator="cpu", devices=1, plugins=MixedPrecision(precision, "cpu", scaler))
    else:
        fabric = kind(accelerator="cpu", devices=1, precision=precision)
    trainer = Trainer(
        fabric=fabric,
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
