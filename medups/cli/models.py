"""Commands that train and run models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from medups.bundle.baseline import baseline_masks
from medups.bundle.model import load_bundle
from medups.bundle.predict import check, plan
from medups.bundle.predict import predict as predict_one
from medups.bundle.train import train_bundle
from medups.cli.display import Terminal
from medups.cli.settings import compose
from medups.errors import InputError


def train(overrides: Sequence[str]) -> None:
    config = compose(overrides)
    with Terminal().live() as terminal:
        train_bundle(config, terminal)


def baseline(overrides: Sequence[str]) -> None:
    config = compose(overrides)
    folder = Path(str(config["output"]))
    with Terminal().live() as terminal:
        baseline_masks(config, folder, terminal)
        terminal.log(f"baseline masks in {folder}")


def predict(model: str, source: str, output: str, cases: str | None, skip_existing: bool, device: str | None) -> None:
    bundle = load_bundle(Path(model), _device(device))
    names = None if cases is None else list(bundle.split.get(cases) or cases.split(","))
    jobs = plan(Path(source), Path(output), names)
    if skip_existing:
        jobs = [job for job in jobs if not job.mask.exists()]
    with Terminal().live() as terminal:
        check(bundle, jobs, terminal.share("checking scans"))
        for job in terminal.cases(jobs, "scans"):
            predict_one(bundle, job, _device(device), terminal.share(job.scan.name))
            terminal.log(str(job.mask))


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: not available here ({str(error).splitlines()[0]})") from error
    return device
