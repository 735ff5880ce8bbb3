"""Train and predict for long in one process; memory, file handles and time per item must stay flat.

python scripts/trust/long_run.py --steps 10000 --predictions 1000 --work /tmp/long

Prints a table of ten equal parts each, and exits with 1 if the last part differs from the second one: memory by more
than 5 %, handles by more than 2. The first part is warm-up. Times are shown and not judged, since machines are noisy.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from small_run import small_run

from medups.progress import SilentProgress
from medups.settings.compose import compose
from medups.workflows.predict import predict
from medups.workflows.train import train

_PARTS = 10


@dataclass(frozen=True)
class Point:
    """After one part of the work: items done, seconds per item of that part, MiB in use, open files."""

    items: int
    seconds: float
    memory: float
    handles: int


class Meter:
    """Measures at the end of each part."""

    def __init__(self, total: int) -> None:
        self.every = max(1, total // _PARTS)
        self.points: list[Point] = []
        self._began = time.perf_counter()

    def __call__(self, done: int) -> None:
        if done % self.every:
            return
        gc.collect()
        now = time.perf_counter()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        handles = len(os.listdir("/proc/self/fd"))
        memory = pages * resource.getpagesize() / 2**20
        self.points.append(Point(done, (now - self._began) / self.every, memory, handles))
        self._began = time.perf_counter()

    def report(self, what: str) -> bool:
        """Print the table; whether memory and handles were flat."""
        print(f"\n| {what} | ms per item | memory, MiB | open files |\n|--:|--:|--:|--:|")
        for point in self.points:
            print(f"| {point.items} | {1000 * point.seconds:.1f} | {point.memory:.0f} | {point.handles} |")
        early, late = self.points[1], self.points[-1]
        return late.memory <= 1.05 * early.memory and late.handles <= early.handles + 2


class StepMeter(SilentProgress):
    """Progress that measures training steps."""

    def __init__(self, total: int) -> None:
        self.meter = Meter(total)

    def steps(self, total: int, done: int) -> Callable[[int, float], None]:
        return lambda step, loss: self.meter(step)


def main() -> int:
    """Returns 1 if memory or file handles grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--predictions", type=int, default=1000)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    overrides = small_run(
        options.work, "network.size=32", f"training.steps={options.steps}", "training.batch_size=1",
        "training.validations=20", "training.save_seconds=5", "upsampler=linear",
    )  # fmt: skip
    run = options.work / "run"
    shutil.rmtree(run, ignore_errors=True)
    progress = StepMeter(options.steps)
    train(compose([*overrides, f"output={run}"]), progress)
    flat = progress.meter.report("training steps")
    meter = Meter(options.predictions)
    scan = options.work / "data" / "img" / "img0004.nii.gz"
    for number in range(1, options.predictions + 1):
        predict(run / "bundle", scan, options.work / "mask.nii.gz", device="cpu")
        meter(number)
    flat = meter.report("predictions, each with the model read again") and flat
    print("\nflat" if flat else "\ngrowing")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
