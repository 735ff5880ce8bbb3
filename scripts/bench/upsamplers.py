"""Time every upsampler against the limits of this machine.

    python scripts/bench/upsamplers.py --output cpu.json                    # all methods and settings
    python scripts/bench/upsamplers.py --methods resfu freqfusion --settings decoder --output quick.json
    python scripts/bench/upsamplers.py --device cuda --dtypes float32 bfloat16 --output gpu.json
    python scripts/bench/upsamplers.py --settings decoder --against CHECKOUT --output rivals.json
    python scripts/docs/benchmark_page.py                  # the pages, from docs/benchmarks/*.json

All methods of a setting take turns, at least seven times, so that machine noise affects them equally. A 3x3
convolution 64 -> 64 at 224 x 224 runs among them as a yardstick; in the settings ``thin-*`` it has the guide's width
and size. ``--against`` adds the published modules found below a folder, after a check that they and ours give the same
numbers with the same weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, get_args

import torch
from machine import Machine, timed
from memory import give_back_freed_memory, keep_freed_memory, peak_bytes
from published import rivals
from torch import Tensor, nn

from medups.ops import reassemble
from medups.ops.backend import Backend, use_backend
from medups.ops.reassembly import TapMode
from medups.report.cost import multiply_adds
from medups.upsamplers import Upsampled, create_upsampler, list_upsamplers

_LEAST_REPEATS = 7
_KERNEL = 3  # of the standalone operators
OPERATORS: dict[str, TapMode] = {"reassemble, nearest": "nearest", "reassemble, linear": "linear"}
_TRAINING_PASSES = 3  # forward, gradients of inputs, gradients of weights


@dataclass(frozen=True)
class Setting:
    """Channels of map and guide, size of the map, and the ratio."""

    dims: int
    channels: int
    size: int
    ratio: int
    gpu_batch: int = 1
    batch: int = 1
    own_yardstick: bool = False

    def inputs(self, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        batch = self.gpu_batch if device == "cuda" else self.batch
        small, large = ([n] * self.dims for n in (self.size, self.size * self.ratio))
        x, guide = (torch.randn(batch, self.channels, *size, generator=generator) for size in (small, large))
        return x.to(device, dtype), guide.to(device, dtype)


SETTINGS = {
    "decoder": Setting(2, 64, 112, 2, 16),
    "dysample": Setting(2, 256, 120, 2, 8),  # the setting of DySample's paper
    "direct": Setting(2, 512, 28, 8, 2),
    "volume": Setting(3, 64, 48, 2, 2),
    "thin-8": Setting(2, 8, 48, 2, 64, 8, own_yardstick=True),
    "thin-16": Setting(2, 16, 48, 2, 64, 8, own_yardstick=True),
    **{f"series-{size}": Setting(2, 64, size, 2, 4) for size in (28, 56, 112, 224)},
}


NARROW: dict[str, dict[str, Any]] = {"resfu": {"embed_channels": None}, "freqfusion": {"compressed_channels": None}}


class Reassembly(nn.Module):
    """The standalone operator: softmax of the logits passed as guide, then weighted sums."""

    def __init__(self, taps: TapMode, kernel_size: int) -> None:
        super().__init__()
        self.taps: TapMode = taps
        self.kernel_size = kernel_size

    def forward(self, x: Tensor, guide: Tensor) -> Upsampled:
        logits = guide[:, None]
        return Upsampled(reassemble(x, logits, kernel_size=self.kernel_size, taps=self.taps, softmax=True), guide)


class Convolution(nn.Module):
    """The yardstick: a 3x3 convolution of the guide that keeps its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, guide: Tensor) -> Upsampled:
        return Upsampled(self.conv(guide), guide)


@dataclass
class Case:
    """One module with its inputs, ready for repeated runs."""

    name: str
    module: nn.Module
    x: Tensor
    guide: Tensor

    def forward(self) -> None:
        with torch.no_grad():
            self.module(self.x, self.guide)

    def training(self) -> None:
        x, guide = self.x.detach().requires_grad_(), self.guide.detach().requires_grad_()
        out = self.module(x, guide)
        torch.autograd.backward([out.x, out.guide], [torch.ones_like(out.x), torch.ones_like(out.guide)])

    def moved(self) -> int:
        """Bytes of inputs and outputs: what a single pass must read and write."""
        with torch.no_grad():
            out = self.module(self.x, self.guide)
        refined = 0 if out.guide is self.guide else out.guide.nbytes
        needed = self.guide.nbytes if getattr(self.module, "needs_guide", True) else 0
        return self.x.nbytes + needed + out.x.nbytes + refined


def cases(
    setting: Setting, methods: list[str], device: str, dtype: torch.dtype, against: Path | None
) -> Iterator[Case]:
    x, guide = setting.inputs(device, dtype)
    if against is not None and setting.dims == 2:
        for name, rival, ours in rivals(against, setting.channels, setting.ratio, x, guide):
            yield Case(f"{name} as published", rival, x, guide)
            yield Case(f"{name} with its options", ours, x, guide)
    for name in methods:
        torch.manual_seed(0)
        if name in OPERATORS:
            logits = guide[:, : _KERNEL**setting.dims].contiguous()
            yield Case(name, Reassembly(OPERATORS[name], _KERNEL), x, logits)
            continue
        shape = {"spatial_dims": setting.dims, "in_channels": setting.channels, "guide_channels": setting.channels}
        shape["scale_factor"] = setting.ratio
        yield Case(name, create_upsampler(name, **shape).to(device, dtype), x, guide)
        if setting.own_yardstick and name in NARROW:
            narrow = create_upsampler(name, **shape, **NARROW[name]).to(device, dtype)
            yield Case(f"{name}, width of the network", narrow, x, guide)
    yardstick = setting if setting.own_yardstick else Setting(2, 64, 112, 2, setting.gpu_batch)
    convolution = Convolution(yardstick.channels).to(device, dtype)
    yield Case("convolution", convolution, *yardstick.inputs(device, dtype))


Work = tuple[Case, str, Callable[[], None]]


def works_of(name: str, methods: list[str], device: str, dtype: torch.dtype, against: Path | None) -> Iterator[Work]:
    """Both passes of every case of a setting."""
    for case in cases(SETTINGS[name], methods, device, dtype, against):
        yield case, "forward", case.forward
        yield case, "training", case.training


def peaks_of(works: Iterator[Work], device: str) -> Iterator[int | None]:
    """Peak memory of each pass on its second run."""
    for case, kind, work in works:
        print(f"memory: {case.name}, {kind}", flush=True)
        work()
        yield peak_bytes(work, device)


def measure(
    name: str,
    machine: Machine,
    peaks: list[int | None],
    methods: list[str],
    device: str,
    dtype: torch.dtype,
    repeats: int,
    against: Path | None,
) -> Iterator[dict[str, Any]]:
    """One record per method and pass."""
    works = list(works_of(name, methods, device, dtype, against))
    for _, _, work in works:
        work()  # warm-up
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(repeats):
        for number, (_, _, work) in enumerate(works):
            seconds[number].append(timed(work, device))
        print(f"{name} {str(dtype).removeprefix('torch.')}: turn {turn + 1} of {repeats}", flush=True)
    for (case, kind, _), taken, peak in zip(works, seconds, peaks, strict=True):
        passes = 1 if kind == "forward" else _TRAINING_PASSES
        moved, operations = passes * case.moved(), passes * multiply_adds(case.module, case.x, case.guide)
        low, median, high = quantiles(taken, n=4)
        yield {
            "setting": name, "method": case.name, "pass": kind, "dtype": str(dtype).removeprefix("torch."),
            "median": median, "low": low, "high": high, "peak_bytes": peak,
            "held": case.moved(), "bytes": moved, "multiply_adds": operations,
            "floor": machine.floor(moved, operations, str(dtype).removeprefix("torch.")),
            "output_elements": case.guide[:, 0].numel() * case.x.shape[1],
        }  # fmt: skip


def import_seconds() -> float:
    """Seconds to import the upsamplers after torch, the minimum over three new processes."""
    code = "import time, torch; t = time.perf_counter(); import medups.upsamplers; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    return min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    methods = [*list_upsamplers(), *OPERATORS]
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--backend", choices=get_args(Backend), help="backend of the operators (default: the fastest)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=_LEAST_REPEATS)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.repeats < _LEAST_REPEATS:
        parser.error(f"--repeats must be at least {_LEAST_REPEATS}")
    give_back_freed_memory()
    torch.set_num_threads(options.threads)
    runs = [(name, getattr(torch, dtype)) for name in options.settings for dtype in options.dtypes]
    selection = options.methods, options.device
    with use_backend(options.backend):
        peaks = []
        for name, dtype in runs:
            print(f"{name} {str(dtype).removeprefix('torch.')}", flush=True)
            peaks.append(list(peaks_of(works_of(name, *selection, dtype, options.against), options.device)))
        keep_freed_memory()
        machine = Machine.measure(options.device, options.dtypes)
        records = [
            record
            for (name, dtype), pass_peaks in zip(runs, peaks, strict=True)
            for record in measure(name, machine, pass_peaks, *selection, dtype, options.repeats, options.against)
        ]
    results = {
        "machine": machine.as_dict(), "backend": options.backend or "fastest", "import_seconds": import_seconds(),
        "records": records,
    }  # fmt: skip
    options.output.write_text(json.dumps(results, indent=1))
    print(options.output)


if __name__ == "__main__":
    main()
