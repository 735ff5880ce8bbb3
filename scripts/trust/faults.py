"""Kill training and folder prediction at random moments, and check that nothing is lost or half-written.

python scripts/trust/faults.py --kills 500 --work /tmp/faults

Half of the kills are SIGKILL, a quarter SIGTERM, and a quarter are power cuts: SIGKILL, and every file that was not
synced to disk is cut at a random place. After each kill, every file under its final name must be readable, and the last
checkpoint must not be older than before. Every job is repeated until it ends, and must end with the same bytes as one
that was never interrupted. Prints one line per finished job and a summary; exits with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from small_run import small_run

from medups.bundle.model import load_bundle
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from medups.io.checkpoints import load_checkpoint
from medups.settings.compose import compose
from medups.workflows.predict import predict
from medups.workflows.train import train

_STEPS = 60
_PARTIAL = ".part"  # temporary files of medups.io.files


@dataclass
class Kills:
    """What was done and found."""

    count: dict[str, int] = field(default_factory=lambda: {"SIGKILL": 0, "SIGTERM": 0, "power cut": 0})
    jobs: int = 0
    cut_files: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.count.values())


@dataclass(frozen=True)
class Job:
    """Work in a folder that can be interrupted.

    Args:
        run: does it, in a process of its own.
        check: raises if a file under its final name is damaged; returns how far the job is.
        result: what must be the same after every run.
    """

    name: str
    run: Callable[[Path], Any]
    check: Callable[[Path], int]
    result: Callable[[Path], str]


def main() -> int:
    """Returns 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    work, rng, found = options.work.resolve(), random.Random(options.seed), Kills()
    jobs = [_training(work), _prediction(work)]
    expected: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for job in jobs:
        began = time.perf_counter()
        _finish(job, work / f"{job.name}-reference")
        seconds[job.name] = time.perf_counter() - began
        expected[job.name] = job.result(work / f"{job.name}-reference")
        if job.name == "train":
            os.replace(work / "train-reference" / "bundle", work / "bundle")
    number = 0
    while found.total < options.kills:
        job = jobs[number % 2]
        folder = work / f"{job.name}-{number}"
        before = found.total
        _interrupted(job, folder, seconds[job.name], rng, found, options.kills)
        if (result := job.result(folder)) != expected[job.name]:
            found.lost.append(f"{job.name} {number}: other bytes than an uninterrupted run ({result[:8]})")
        found.jobs += 1
        print(f"{job.name} {number}: the same result after {found.total - before} kills", flush=True)
        number += 1
    print(json.dumps({**found.count, "jobs": found.jobs, "files cut": found.cut_files, "lost": found.lost}, indent=2))
    return 1 if found.lost else 0


def _training(work: Path) -> Job:
    overrides = small_run(
        work, "network.size=64", f"training.steps={_STEPS}", "training.batch_size=2", "training.validations=4",
        "training.save_seconds=0.05", "upsampler.options.embed_channels=8",
    )  # fmt: skip

    def run(folder: Path) -> None:
        train(compose([*overrides, f"output={folder}"]))

    def check(folder: Path) -> int:
        steps = []
        for path in folder.rglob("*"):
            if path.suffix == ".pt" and not path.name.endswith(_PARTIAL) and not path.name.startswith("."):
                content = load_checkpoint(path)
                steps += [int(content["step"])] if path.name in ("last.pt", "previous.pt") else []
            elif path.suffix == ".json" and not path.name.startswith("."):
                json.loads(path.read_text())
        if (folder / "bundle" / "models" / "model.pt").is_file():
            load_bundle(folder / "bundle")
        return max(steps, default=0)

    def result(folder: Path) -> str:
        weights = load_checkpoint(folder / "bundle" / "models" / "model.pt")
        values = [value.numpy().tobytes() for _, value in sorted(weights.items())]
        return hashlib.sha256(b"".join(values)).hexdigest()

    return Job("train", run, check, result)


def _prediction(work: Path) -> Job:
    def run(folder: Path) -> None:
        predict(work / "bundle", work / "data" / "img", folder, device="cpu")

    def check(folder: Path) -> int:
        masks = [path for path in folder.glob("*.nii.gz") if not path.name.startswith(".")]
        for path in masks:
            with contextlib.suppress(InputError):  # an empty mask is no scan, but it was read
                read_scan(path)
        for path in folder.rglob("*.json"):
            if not path.name.startswith("."):
                json.loads(path.read_text())
        return len(masks)

    def result(folder: Path) -> str:
        masks = sorted(folder.glob("*.nii.gz"))
        return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in masks)).hexdigest()

    return Job("predict", run, check, result)


def _interrupted(job: Job, folder: Path, seconds: float, rng: random.Random, found: Kills, most: int) -> None:
    """Run the job with up to 12 kills at moments of its usual duration, and then to its end."""
    progress = 0
    for _ in range(12):
        if found.total >= most:
            break
        log = folder.with_suffix(".synced")  # of all attempts
        process = _start(job, folder, log)
        process.join(rng.uniform(0, seconds))
        if process.exitcode is not None:
            if process.exitcode != 0:
                found.lost.append(f"{folder.name}: exit code {process.exitcode}")
            break
        kind = rng.choice(["SIGKILL", "SIGKILL", "SIGTERM", "power cut"])
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
        process.join()
        found.count[kind] += 1
        if kind == "power cut" and folder.is_dir():
            found.cut_files += _cut_unsynced(folder, log, rng)
        try:
            now = job.check(folder) if folder.is_dir() else 0
        except Exception as error:
            found.lost.append(f"{folder.name}: {type(error).__name__}: {error}")
            continue
        if now < progress:
            found.lost.append(f"{folder.name}: {progress} before, {now} after a {kind}")
        progress = now
    _finish(job, folder)


def _finish(job: Job, folder: Path) -> None:
    process = _start(job, folder, folder.with_suffix(".synced"))
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{folder}: the uninterrupted run ended with {process.exitcode}")


def _start(job: Job, folder: Path, log: Path) -> Any:
    process = multiprocessing.get_context("fork").Process(target=_work, args=(job, folder, log))
    process.start()
    return process


def _work(job: Job, folder: Path, log: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    synced = log.open("a")
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        synced.write(f"{os.fstat(handle).st_ino}\n")
        synced.flush()

    os.fsync = fsync  # type: ignore[assignment]  # mypy: os.fsync also takes objects with fileno, which medups never passes
    with open(os.devnull, "w") as silent, contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        job.run(folder)


def _cut_unsynced(folder: Path, log: Path, rng: random.Random) -> int:
    """Cut the files of the last seconds that were never synced, as a power cut may."""
    synced = set(log.read_text().split()) if log.is_file() else set()
    count = 0
    for path in folder.rglob("*"):
        if not path.is_file() or str(path.stat().st_ino) in synced or time.time() - path.stat().st_mtime > 30:
            continue
        os.truncate(path, rng.randint(0, path.stat().st_size))
        count += 1
    return count


if __name__ == "__main__":
    sys.exit(main())
