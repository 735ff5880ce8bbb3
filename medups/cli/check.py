"""Report what prediction would refuse or warn about, without a model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medups.cli.terminal import Terminal

if TYPE_CHECKING:
    from medups.workflows.check import Checked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("input", metavar="SCAN|FOLDER|ZIP")
    parser.add_argument("--modality", default="CT", help="of the model to come; default: CT")
    parser.add_argument("--series", help="only DICOM series with this description, number or uid")
    parser.add_argument("--resample", action="store_true", help="interpolate DICOM slices at uneven distances")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.errors import InputError
    from medups.workflows.check import check

    terminal = Terminal()
    refused, scans = 0, 0
    for result in check(options.input, series=options.series, modality=options.modality, resample=options.resample):
        scans += bool(result.name)
        refused += len(result.problems)
        verdict = "refused" if result.problems else "warning" if result.warnings else "good"
        terminal.log(f"{verdict}: {result.name or result.path}{_facts(result)}")
        for note in [*result.problems, *result.warnings]:
            terminal.log(f"    {note}")
    if refused:
        raise InputError(f"{options.input}: {refused} would be refused, {scans} scans found")
    terminal.log(f"{scans} scan{'s' if scans != 1 else ''}, all can be segmented")


def _facts(result: Checked) -> str:
    if not result.shape:
        return ""
    shape = " x ".join(map(str, result.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in result.spacing_mm) or "unknown"
    low, median, high = result.intensities
    kind = f"{result.modality}, " if result.modality else ""
    return f": {kind}{shape} voxels of {spacing} mm, intensities {low:g} to {high:g}, median {median:g}"
