"""Measure the cost of each network with each upsampler: parameters, multiply-adds, memory and time of a prediction.

    python scripts/bench/decoders.py --output decoders-cpu.json
    python scripts/bench/decoders.py --device cuda --output decoders-gpu.json

One image at 224 x 224, one volume at 96^3. All upsamplers of a network take turns.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import Machine, take_turns
from memory import give_back_freed_memory, keep_freed_memory, peak_bytes
from monai.networks.nets import BasicUNet
from torch import nn

from medups.networks import SwinUNet, TransUNet, with_upsampler
from medups.report.cost import multiply_adds
from medups.upsamplers import list_upsamplers

_CLASSES = 9


def _basic_unet(upsampler: str) -> nn.Module:
    net = BasicUNet(3, 1, _CLASSES, features=(16, 16, 32, 64, 128, 16))
    return net if upsampler == "native" else with_upsampler(net, upsampler)


# upsampler as published or by default, builder, input shape
NETWORKS: dict[str, tuple[str, Callable[[str], nn.Module], tuple[int, ...]]] = {
    "TransUNet R50-ViT-B/16": ("bilinear", lambda up: TransUNet(224, 1, _CLASSES, up), (1, 1, 224, 224)),
    "Swin-Unet tiny": ("patch_expand", lambda up: SwinUNet(224, 1, _CLASSES, up), (1, 1, 224, 224)),
    "MONAI BasicUNet, 3-D, 16 to 128 channels": ("native", _basic_unet, (1, 1, 96, 96, 96)),
}


def _predict(net: nn.Module, image: torch.Tensor) -> None:
    with torch.no_grad():
        net(image)


def measure(name: str, device: str, repeats: int) -> Iterator[dict[str, Any]]:
    native, build, shape = NETWORKS[name]
    image = torch.zeros(shape, device=device)
    records: list[dict[str, Any]] = []
    works: dict[str, Callable[[], None]] = {}
    give_back_freed_memory()
    for upsampler in (native, *list_upsamplers()):
        net = build(upsampler).to(device).eval()
        work = works[upsampler] = partial(_predict, net, image)
        work()
        records.append(
            {
                "network": name,
                "upsampler": upsampler,
                "parameters": sum(parameter.numel() for parameter in net.parameters()),
                "multiply_adds": multiply_adds(net, image),
                "peak_bytes": peak_bytes(work, device),
            }
        )
        print(f"{name}, {upsampler}: counted", flush=True)
    keep_freed_memory()
    taken = take_turns(works, device, repeats)
    for record in records:
        times = taken[record["upsampler"]]
        against = [seconds / base for seconds, base in zip(times, taken[native], strict=True)]
        yield record | {"seconds": median(times), "against": median(against)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    records = [record for name in NETWORKS for record in measure(name, options.device, options.repeats)]
    machine = Machine.measure(options.device).as_dict()
    options.output.write_text(json.dumps({"machine": machine, "decoders": records}, indent=1))
    print(options.output)


if __name__ == "__main__":
    main()
