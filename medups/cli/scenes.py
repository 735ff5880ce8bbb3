"""Write synthetic pictures with masks and COCO annotations."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("folder")
    parser.add_argument("--train", type=int, default=200, help="pictures to train on")
    parser.add_argument("--val", type=int, default=40, help="pictures to validate on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--height", type=int, default=96, metavar="PIXELS")
    parser.add_argument("--width", type=int, default=128, metavar="PIXELS")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.scenes import scenes

    with Terminal().live() as terminal:
        folder = scenes(
            options.folder,
            train=options.train,
            val=options.val,
            seed=options.seed,
            height=options.height,
            width=options.width,
            progress=terminal,
        )
        terminal.log(f"{options.train + options.val} scenes in {folder}")
