"""Segment the test cases with a voxel classifier that uses intensity and position only."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("overrides", nargs="*", metavar="key=value")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.settings.compose import compose
    from medups.workflows.baseline import baseline

    with Terminal().live() as terminal:
        folder = baseline(compose(options.overrides, terminal.log), terminal)
        terminal.log(f"baseline masks in {folder}")
