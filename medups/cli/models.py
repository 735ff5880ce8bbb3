"""Commands that train and run models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from medups.bundle.baseline import baseline_masks
from medups.bundle.ensemble import write_ensemble
from medups.bundle.model import load_bundle
from medups.bundle.predict import check, plan
from medups.bundle.predict import predict as predict_one
from medups.bundle.profile import profile_run
from medups.bundle.train import output_folder, train_bundle
from medups.cli.display import Terminal
from medups.cli.settings import compose, multirun
from medups.errors import InputError
from medups.files import require_writable
from medups.report.tables import print_profile
from medups.training.ranks import is_begun, is_first, is_single


def train(overrides: Sequence[str]) -> None:
    config = compose(overrides)
    with _terminal().live() as terminal:
        train_bundle(config, terminal)


def sweep(overrides: Sequence[str]) -> None:
    """A run for each combination of the values that ``key=a,b`` lists, as hydra's launcher begins them."""
    done: list[object] = []

    def run(config: Mapping[str, Any]) -> None:
        _one_run(config)
        done.append(config["output"])

    failed = multirun(overrides, run)
    if failed:
        reasons = "; ".join(f"{output}: {error}" for output, error in failed.items())
        wrong = not done and all(isinstance(error, InputError) for error in failed.values())
        kind = InputError if wrong else RuntimeError
        raise kind(f"{len(failed)} runs of the sweep failed: {reasons}")


def _one_run(config: Mapping[str, Any]) -> None:
    training = config["training"]
    if not (is_begun() or is_single(training["devices"], int(training["num_nodes"]))):
        raise InputError("a sweep over several devices must be begun by torchrun or by SLURM")
    with _terminal().live() as terminal:
        train_bundle(config, terminal)


def profile(overrides: Sequence[str]) -> None:
    """Time the recipe's steps with and without their data."""
    config = compose(overrides)
    with _terminal().live() as terminal:
        print_profile(profile_run(config, terminal), terminal.console)


def ensemble(models: Sequence[str], output: str) -> None:
    require_writable(output)
    write_ensemble([Path(model) for model in models], Path(output))
    Terminal().log(f"bundle of {len(models)} members: {output}")


def _terminal() -> Terminal:
    """Of the processes of one run the first alone speaks."""
    return Terminal(quiet=not is_first())


def baseline(overrides: Sequence[str]) -> None:
    config = compose(overrides)
    folder = output_folder(config)
    with Terminal().live() as terminal:
        baseline_masks(config, folder, terminal)
        terminal.log(f"baseline masks in {folder}")


def predict(model: str, source: str, output: str, cases: str | None, skip_existing: bool, device: str | None) -> None:
    bundle = load_bundle(Path(model), _device(device))
    names = None if cases is None else list(bundle.split[cases] if cases in bundle.split else cases.split(","))
    if names == []:
        raise InputError(f"--cases {cases}: {model} says of no such cases; name some, or leave it out for all scans")
    jobs = plan(Path(source), Path(output), names)
    there = [job for job in jobs if skip_existing and job.mask.exists()]
    jobs = [job for job in jobs if job not in there]
    with Terminal().live() as terminal:
        if there:
            terminal.log(f"{len(there)} masks are there and are kept")
        check(bundle, terminal.track(jobs, "checking scans", len(jobs)))
        for job in terminal.track(jobs, "scans", len(jobs)):
            predict_one(bundle, job, _device(device), terminal.share(job.scan.name))
            terminal.log(str(job.mask))


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: not available here ({str(error).splitlines()[0]})") from error
    return device
