"""Look for implausible masks without labels: missing, split or exchanged organs, unusual volumes, cut-off organs."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("masks", metavar="MASK|FOLDER")
    parser.add_argument("--image", metavar="FILE|FOLDER", help="the scans, for the pictures")
    parser.add_argument("--labels", metavar="SET", help="label set; default: the .labels.json beside each mask")
    parser.add_argument("--reference", metavar="FOLDER", help="masks with usual volumes, such as the training labels")
    parser.add_argument("--reference-labels", metavar="SET", help="default: the .labels.json beside each mask")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for qc.html, qc.csv and pictures")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.qc import qc

    with Terminal().live() as terminal:
        cases = qc(
            options.masks,
            options.output,
            image=options.image,
            labels=options.labels,
            reference=options.reference,
            reference_labels=options.reference_labels,
            progress=terminal,
        )
        flagged = [quality for quality in cases if quality.findings]
        for quality in flagged:
            terminal.log(f"{quality.case}: {'; '.join(f'{one.organ}: {one.text}' for one in quality.findings)}")
        terminal.log(f"{len(flagged)} of {len(cases)} masks to look at: {options.output}/qc.html")
