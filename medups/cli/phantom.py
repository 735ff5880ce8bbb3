"""Write synthetic abdominal CT scans with labels in the Synapse format."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("folder")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128, help="pixels per side of a slice")
    parser.add_argument("--slices", type=int, default=40)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.phantom import phantom

    with Terminal().live() as terminal:
        folder = phantom(
            options.folder,
            cases=options.cases,
            seed=options.seed,
            size=options.size,
            slices=options.slices,
            progress=terminal,
        )
        terminal.log(f"{options.cases} phantoms in {folder}")
