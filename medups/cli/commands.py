"""What each command does, in terms of the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from medups.bundle.baseline import baseline_masks
from medups.bundle.model import load_bundle
from medups.bundle.predict import check, plan
from medups.bundle.predict import predict as predict_one
from medups.bundle.train import train_bundle
from medups.cli.display import Terminal
from medups.cli.settings import compose
from medups.data.labels import LabelSet, beside, label_set, organ_names
from medups.data.phantom import write_phantoms
from medups.errors import InputError
from medups.evaluation import CaseResult, find_pairs
from medups.evaluation import evaluate as evaluate_pairs
from medups.files import require_writable
from medups.metrics.case import Protocol
from medups.report.overlay import write_overlay
from medups.report.tables import print_comparison, print_summary, write_results


def phantom(folder: str, cases: int, seed: int, size: int, slices: int) -> None:
    require_writable(folder)
    with Terminal().live() as terminal:
        update = terminal.share("phantoms")
        for number, _ in enumerate(write_phantoms(Path(folder), cases, seed, size, slices), start=1):
            update(number / cases)
        terminal.log(f"{cases} phantoms in {folder}")


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
        check(jobs, terminal.share("checking scans"))
        for job in terminal.cases(jobs, "scans"):
            predict_one(bundle, job, _device(device), terminal.share(job.scan.name))
            terminal.log(str(job.mask))


def evaluate(
    pred: str,
    label: str,
    image: str | None,
    pred_labels: str | None,
    label_labels: str | None,
    organs: str | None,
    protocol: Protocol,
    output: str,
) -> None:
    pairs, unused = find_pairs(Path(pred), Path(label), Path(image) if image else None)
    read_pred, read_label = _label_reader(pred_labels, "--pred-labels"), _label_reader(label_labels, "--label-labels")
    shared = [name for name in read_pred(pairs[0].pred).names if name in read_label(pairs[0].label).names]
    names = organ_names(organs) if organs else shared
    folder = Path(output)
    require_writable(folder)
    with Terminal().live() as terminal:
        update = terminal.share("cases")
        # masks of a folder are scored before anything is written, so that wrong input leaves nothing behind
        pictures: list[CaseResult] = []

        def each(result: CaseResult) -> None:
            pictures.append(result)
            update(len(pictures) / len(pairs))

        evaluation = evaluate_pairs(pairs, read_pred, read_label, names, protocol, each)
        for result in pictures:
            masks = {"prediction": result.pred, "label": result.label}
            path = folder / "overlays" / f"{result.name}.png"
            write_overlay(path, result.image, masks, names, result.spacing_mm, f"case {result.name}")
        write_results(folder, evaluation)
        if unused:
            terminal.log(f"{len(unused)} labels without a prediction were left out: {', '.join(unused)}")
        print_summary(evaluation.summary(), terminal.console)
        terminal.log(f"{folder / 'summary.json'}, cases.csv and {len(pairs)} pictures in {folder / 'overlays'}")


def compare(folders: Sequence[str]) -> None:
    print_comparison([Path(folder) for folder in folders], Terminal().console)


def _label_reader(name: str | None, option: str) -> Callable[[Path], LabelSet]:
    if name is not None:
        labels = label_set(name)
        return lambda _: labels

    def read(mask: Path) -> LabelSet:
        table = beside(mask)
        if not table.is_file():
            raise InputError(f"{mask}: no {table.name} beside it; say with {option} which label set the file has")
        return label_set(str(table))

    return read


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: not available here ({str(error).splitlines()[0]})") from error
    return device
