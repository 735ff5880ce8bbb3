"""Combine bundles into one whose predictions are the mean of its members'."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("models", nargs="+", metavar="BUNDLE")
    parser.add_argument("--output", required=True, metavar="FOLDER")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.ensemble import ensemble

    folder = ensemble(options.models, options.output)
    Terminal().log(f"bundle of {len(options.models)} members: {folder}")
