"""Show evaluation folders side by side."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("folders", nargs="+", metavar="FOLDER")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.report.tables import print_comparison
    from medups.workflows.compare import compare

    print_comparison(compare(options.folders), Terminal().console)
