"""Run by test_processes.py: trains a network with batch norms and saves the weights that each process validates."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from medups.data.labels import LabelSet
from medups.tasks import VolumeTask
from medups.training.distributed import launch
from medups.training.plan import Plan
from medups.training.trainer import Hooks, Trainer


class Noise(torch.utils.data.Dataset):
    """Noise whose amplitude grows with the index, so that statistics differ between processes."""

    def __len__(self):
        return 16

    def __getitem__(self, n):
        image = (n + 1) * torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(n))
        return {"image": image, "label": (image > 0).long()}


def main(ema_decay: str) -> None:
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    launch(fabric)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    seen = []
    hooks = Hooks(
        validate=lambda validated, _: seen.append({k: v.clone() for k, v in validated.state_dict().items()}),
        scalars=lambda *_: None,
        progress=lambda *_: None,
        log=print,
    )
    decay = None if ema_decay == "none" else float(ema_decay)
    plan = Plan(steps=4, batch_size=4, validate_every=2, poly_power=0.9, ema_decay=decay)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = nn.CrossEntropyLoss()
    folder = Path(f"run-{ema_decay}")
    Trainer(
        fabric=fabric,
        task=VolumeTask(LabelSet("noise", {1: "loud"})),
        network=network,
        loss=lambda x, y: loss(x, y[:, 0]),
        optimizer=optimizer,
        stream=Noise(),
        plan=plan,
        hooks=hooks,
        folder=folder,
        identity={},
        seed=0,
    ).run()
    torch.save(seen, f"seen{fabric.global_rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
