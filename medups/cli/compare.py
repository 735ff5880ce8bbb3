"""Compare models that were evaluated on the same cases with the first one."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="[NAME=]FOLDER",
        help="what medups evaluate wrote; folders with the same NAME are runs of one model; the first is the reference",
    )
    parser.add_argument("--published", metavar="TABLE", help="show numbers from papers beside the means: synapse")
    parser.add_argument("--output", metavar="FOLDER", help="write comparison.json and Markdown, LaTeX and CSV tables")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.report.comparison import print_comparison
    from medups.workflows.compare import compare

    print_comparison(compare(options.folders, options.output, options.published), Terminal().console)
