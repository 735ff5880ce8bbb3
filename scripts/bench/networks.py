"""Measure what a guided decoder adds to a training step of the full TransUNet at 224 x 224.

    python scripts/bench/networks.py --output networks-cpu.json
    python scripts/bench/networks.py --device cuda --batch 24 --upsamplers linear resfu freqfusion --output gpu.json

The decoders take turns: bilinear (published); every upsampler of ``--upsamplers`` in the three steps with a skip; and
ReSFU, if chosen, in all four steps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
from machine import Machine, take_turns
from torch import nn
from torch.nn import functional as F

from medups.networks import TransUNet
from medups.upsamplers import list_upsamplers

_CLASSES, _LEAST_REPEATS = 9, 7


def decoders(upsamplers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Arguments of the network by name of its decoder."""
    chosen: dict[str, dict[str, Any]] = {"bilinear": {}}
    for name in upsamplers:
        chosen[f"{name}, three steps"] = {"upsampler": name, "image_guide": False}
    if "resfu" in upsamplers:
        chosen["resfu, four steps"] = {"upsampler": "resfu", "image_guide": True}
    return chosen


def train_step(net: nn.Module, optimizer: torch.optim.Optimizer, image: torch.Tensor, label: torch.Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(net(image), label).backward()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--upsamplers", nargs="+", default=["resfu", "freqfusion"], choices=list_upsamplers())
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=_LEAST_REPEATS)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    image = torch.randn(options.batch, 1, options.size, options.size, device=options.device)
    label = torch.randint(_CLASSES, (options.batch, options.size, options.size), device=options.device)
    steps = {}
    for name, decoder in decoders(options.upsamplers).items():
        net = (
            TransUNet(img_size=options.size, in_channels=1, out_channels=_CLASSES, **decoder).to(options.device).train()
        )
        optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
        steps[name] = partial(train_step, net, optimizer, image, label)
    taken = take_turns(steps, options.device, options.repeats)
    records = []
    for name, seconds in taken.items():
        against = [elapsed / base for elapsed, base in zip(seconds, taken["bilinear"], strict=True)]
        records.append({"decoder": name, "step": quantiles(seconds, n=4), "against_bilinear": quantiles(against, n=4)})
    machine = Machine.measure(options.device).as_dict()
    results = {"machine": machine, "batch": options.batch, "size": options.size, "networks": records}
    options.output.write_text(json.dumps(results, indent=1))
    print(options.output)


if __name__ == "__main__":
    main()
