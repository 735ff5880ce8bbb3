"""Show what each upsampler of a trained network does to its features: classes, margins, frequencies."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--input", required=True, metavar="SCAN")
    parser.add_argument("--label", required=True, metavar="MASK")
    parser.add_argument("--label-labels", metavar="SET", help="default: the model's own label set")
    parser.add_argument("--layers", metavar="PATHS", help="other layers of the network, comma-separated")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for features.png and features.json")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.analyze import analyze

    terminal = Terminal()
    layers = [name.strip() for name in options.layers.split(",")] if options.layers else None
    for step in analyze(
        options.model, options.input, options.label, options.output, label_labels=options.label_labels, layers=layers
    ):
        similarity, margin = (f"{before:.3f} -> {after:.3f}" for before, after in (step.similarity, step.margin))
        terminal.log(f"{step.layer} ({step.kind}): similarity within classes {similarity}, margin {margin}")
    terminal.log(f"{options.output}/features.png, features.json")
