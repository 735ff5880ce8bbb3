"""Export a trained network to ONNX or a torch.export program, checked against the original."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--format", default="onnx", choices=("onnx", "torch-export"))
    parser.add_argument("--output", required=True, metavar="FILE", help="ending in .onnx or .pt2")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.cli.terminal import Terminal
    from medups.workflows.export import export

    terminal = Terminal()
    result = export(options.model, options.output, options.format, terminal)
    shape = ", ".join(map(str, result.input_shape))
    terminal.log(
        f"{result.file}: [batch, {shape}] -> logits; largest difference from the original {result.difference:.1e}, "
        f"{result.agreement:.4%} of the ids agree"
    )
