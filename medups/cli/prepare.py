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
        if settings.task == "semantic_image":
            from medups.workflows.prepare_pictures import prepare_pictures

            folder = prepare_pictures(settings, options.output, terminal)
            terminal.log(f"{folder / 'cases.csv'}, pictures in {folder / 'overlays'}")
            return
        result = prepare(settings, options.output, terminal)
        print_statistics(result.facts, terminal.console)
        folder = result.folder
        terminal.log(f"{folder / 'cases.csv'}, pictures in {folder / 'overlays'}; cache in {settings.data.cache}")
