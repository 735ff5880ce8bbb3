"""Show what a bundle is: its network, organs, input and training."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("bundle", metavar="BUNDLE")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.cli.terminal import Terminal
    from medups.workflows.info import bundle_info

    info = bundle_info(options.bundle)
    spacing = " x ".join(f"{mm:g}" for mm in info.spacing_mm) + " mm" if info.spacing_mm else "each scan's own"
    suffix = f" with {info.upsampler}" if info.upsampler else ""
    rows = {
        "bundle": info.description,
        "network": f"{info.network}{suffix}, {info.parameters:,} parameters",
        "input": f"{info.modality}, {' x '.join(map(str, info.input_size))}"
        + ("" if info.modality == "photograph" else f" at a spacing of {spacing}"),
        "organs": ", ".join(f"{number} {name}" for number, name in info.organs.items()),
        "cases": ", ".join(f"{count} {part}" for part, count in info.cases.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in info.versions.items()),
        "license": info.license or "not stated",
    }
    terminal = Terminal()
    for name, text in rows.items():
        terminal.log(f"{name + ':':<10}{text}")
