"""The ``medups`` command: dispatch, error messages and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from medups import __version__
from medups.cli import (
    analyze,
    baseline,
    check,
    compare,
    ensemble,
    evaluate,
    export,
    info,
    phantom,
    predict,
    prepare,
    qc,
    report,
    scenes,
    train,
)
from medups.errors import InputError

_COMMANDS = (
    phantom, scenes, prepare, train, ensemble, baseline, info, check, predict, qc, evaluate, compare, report, analyze,
    export,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 for success, 1 for a failure, 2 for invalid input."""
    _accept_any_console()
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if "overrides" in options and not any(word.startswith("-") for word in rest):
        options.overrides += rest  # argparse does not collect overrides on both sides of an option
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        options.run(options)
    except InputError as error:
        return _report("error", str(error), 2)
    except KeyboardInterrupt:
        advice = "repeat the command: train and predict go on where they stopped"
        return _report("stopped", f"interrupted; no partial files were left; {advice}", 1)
    except Exception as error:  # unexpected: one line, with a traceback if MEDUPS_TRACEBACK=1
        if os.environ.get("MEDUPS_TRACEBACK"):
            traceback.print_exc()
        message = str(error).strip() or type(error).__name__
        return _report("failed", f"{type(error).__name__}: {message} (set MEDUPS_TRACEBACK=1 for details)", 1)
    return 0


def run() -> None:
    """Entry point of the ``medups`` command."""
    sys.exit(main())


def _accept_any_console() -> None:
    """Replace characters that the console cannot show, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _report(kind: str, message: str, code: int) -> int:
    print(f"medups: {kind}: {' '.join(message.split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medups", description="Medical image segmentation with swappable upsampling.")
    parser.add_argument("--version", action="version", version=f"medups {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in _COMMANDS:
        name, text = command.__name__.rpartition(".")[2], (command.__doc__ or "").strip()
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=command.run)
        command.add_arguments(sub)
    return parser


if __name__ == "__main__":
    run()
