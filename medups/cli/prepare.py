"""Check a dataset, show its statistics, and fill the cache. Takes the same settings as train."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--output", default="runs/dataset", metavar="FOLDER")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.report.dataset import print_statistics
    from medups.settings.compose import compose
    from medups.workflows.prepare import prepare

    with Terminal().live() as terminal:
        settings = compose(options.overrides, terminal.log)
        result = prepare(settings, options.output, terminal)
        folder, cache = result.folder, f"; cache in {settings.data.cache}"
        if result.facts:
            print_statistics(result.facts, terminal.console)
        terminal.log(f"{folder / 'cases.csv'}, pictures in {folder / 'overlays'}{cache if result.facts else ''}")
