"""Segment a scan or a folder of scans."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--input", required=True, metavar="SCAN|FOLDER")
    parser.add_argument("--output", required=True, metavar="FILE|FOLDER")
    parser.add_argument("--cases", help="comma-separated names, or train, val or test from the bundle's split")
    parser.add_argument("--skip-existing", action="store_true", help="keep existing masks, to resume a run")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.predict import predict

    with Terminal().live() as terminal:
        predict(
            options.model,
            options.input,
            options.output,
            cases=options.cases,
            skip_existing=options.skip_existing,
            device=options.device,
            progress=terminal,
        )
