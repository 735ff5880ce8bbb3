"""Gather training runs on one page: settings that differ, scores over seeds, curves, cost against quality."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="run folders, or folders with some below them")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for runs.html and runs.csv")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.report import report

    with Terminal().live() as terminal:
        runs = report(options.runs, options.output, terminal)
        terminal.log(f"{len(runs)} runs: {options.output}/runs.html, runs.csv")
