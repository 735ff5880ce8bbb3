"""Score masks against labels: Dice and HD95 of every organ, as a table, files and pictures."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal
from medups.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--task",
        choices=("volume", "semantic_image", "detection", "panoptic"),
        default="volume",
        help="semantic_image: masks of pictures; detection, panoptic: files in COCO's form",
    )
    parser.add_argument("--pred", required=True, metavar="FILE|FOLDER")
    parser.add_argument("--label", required=True, metavar="FILE|FOLDER")
    parser.add_argument("--image", metavar="FILE|FOLDER", help="the scans, for the pictures")
    parser.add_argument(
        "--also", action="append", default=[], metavar="NAME=FOLDER", help="masks of another model, shown in the report"
    )
    parser.add_argument("--pred-labels", metavar="SET", help="default: the .labels.json beside each mask")
    parser.add_argument("--label-labels", metavar="SET", help="default: the .labels.json beside each mask")
    parser.add_argument(
        "--organs", metavar="SET", help="a label set, or comma-separated names; default: all organs in both"
    )
    parser.add_argument("--resample", action="store_true", help="accept predictions on another grid: nearest voxel")
    parser.add_argument("--protocol", choices=("synapse", "physical"), default="physical")
    parser.add_argument(
        "--tolerance", default="2", metavar="MM", help="of the surface Dice; or by organ: liver=3,aorta=1; default: 2"
    )
    parser.add_argument(
        "--display-window",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="intensities that pictures show as black and as white; default: -125 275, for CT",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.task != "volume":
        _refuse_options_of_scans(options)
        (_run_pictures if options.task == "semantic_image" else _run_objects)(options)
        return
    from medups.data.volumes.volume import CT_WINDOW
    from medups.report.tables import print_summary
    from medups.workflows.evaluate import evaluate

    with Terminal().live() as terminal:
        result = evaluate(
            options.pred,
            options.label,
            image=options.image,
            also=dict(_named(text) for text in options.also),
            pred_labels=options.pred_labels,
            label_labels=options.label_labels,
            organs=options.organs,
            protocol=options.protocol,
            tolerance_mm=_tolerance(options.tolerance),
            output=options.output,
            resample=options.resample,
            display_window=tuple(options.display_window or CT_WINDOW),
            progress=terminal,
        )
        if result.not_compared:
            terminal.log(f"organs not compared: {', '.join(result.not_compared)}")
        if result.unused_labels:
            count = len(result.unused_labels)
            terminal.log(f"skipped {count} labels without a prediction: {', '.join(result.unused_labels)}")
        print_summary(result.evaluation.summary(), terminal.console)
        cases = len(result.evaluation.cases)
        terminal.log(f"{result.folder}/report.html, summary.json, cases.csv and {cases} pictures in overlays")


def _refuse_options_of_scans(options: argparse.Namespace) -> None:
    defaults: dict[str, object] = {
        "also": [], "organs": None, "resample": False, "protocol": "physical", "tolerance": "2", "display_window": None,
    }  # fmt: skip
    if wrong := [f"--{name.replace('_', '-')}" for name, value in defaults.items() if getattr(options, name) != value]:
        raise InputError(f"{', '.join(wrong)}: not available with --task {options.task}")


def _run_pictures(options: argparse.Namespace) -> None:
    from medups.report.tables import print_picture_summary
    from medups.workflows.evaluate_pictures import evaluate_images

    with Terminal().live() as terminal:
        result = evaluate_images(
            options.pred,
            options.label,
            image=options.image,
            pred_labels=options.pred_labels,
            label_labels=options.label_labels,
            output=options.output,
            progress=terminal,
        )
        if result.unused_labels:
            terminal.log(f"skipped {len(result.unused_labels)} labels without a prediction")
        print_picture_summary(result.evaluation.summary(), terminal.console)
        terminal.log(f"{result.folder}/report.html, summary.json, cases.csv and pictures in overlays")


def _run_objects(options: argparse.Namespace) -> None:
    if options.pred_labels or options.label_labels:
        raise InputError(
            f"--pred-labels, --label-labels: not available with --task {options.task}, whose files name them"
        )
    from medups.report.tables import print_object_summary
    from medups.workflows.evaluate_objects import evaluate_objects

    with Terminal().live() as terminal:
        result = evaluate_objects(
            options.task, options.pred, options.label, image=options.image, output=options.output, progress=terminal
        )
        if result.unused_labels:
            terminal.log(f"skipped {len(result.unused_labels)} pictures without a prediction")
        print_object_summary(result.summary, terminal.console)
        terminal.log(f"{result.folder}/report.html, summary.json, cases.csv and pictures in overlays")


def _tolerance(text: str) -> float | dict[str, float]:
    """Millimeters for all organs, or by organ. Raises InputError if they are no numbers."""
    try:
        if "=" not in text:
            return float(text)
        return {name.strip(): float(mm) for name, _, mm in (part.partition("=") for part in text.split(","))}
    except ValueError as error:
        raise InputError(f"--tolerance {text}: expected millimeters, such as 2 or liver=3,aorta=1") from error


def _named(text: str) -> tuple[str, str]:
    """The parts of NAME=FOLDER. Raises InputError if one is missing."""
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise InputError(f"--also {text}: expected NAME=FOLDER")
    return name, folder
