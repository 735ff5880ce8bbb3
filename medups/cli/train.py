"""Train a network and write a bundle folder. Takes Hydra overrides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from medups.cli.terminal import Terminal
from medups.errors import InputError

if TYPE_CHECKING:
    from medups.settings.schema import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("-m", "--multirun", action="store_true", help="one run per combination of values: seed=0,1,2")
    mode.add_argument("--profile", action="store_true", help="measure the speed of data preparation and of the network")
    mode.add_argument("--print", action="store_true", help="show all settings and their meanings, without training")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.print:
        _print(options.overrides)
    elif options.multirun:
        _sweep(options.overrides)
    elif options.profile:
        _profile(options.overrides)
    else:
        from medups.settings.compose import compose

        with _terminal().live() as terminal:
            _train(compose(options.overrides, terminal.log), terminal)


def _train(settings: Settings, terminal: Terminal) -> None:
    from medups.workflows.train import train

    train(settings, terminal)


def _print(overrides: Sequence[str]) -> None:
    from medups.settings.compose import compose
    from medups.settings.listing import setting_lines

    terminal = Terminal()
    for line in setting_lines(compose(overrides, terminal.log, complete=False)):
        terminal.log(line)


def _profile(overrides: Sequence[str]) -> None:
    from medups.report.tables import print_profile
    from medups.settings.compose import compose
    from medups.workflows.profile import profile

    with _terminal().live() as terminal:
        print_profile(profile(compose(overrides, terminal.log), terminal), terminal.console)


def _sweep(overrides: Sequence[str]) -> None:
    """One run per combination of the values that ``key=a,b`` lists, started by Hydra's launcher."""
    from medups.settings.compose import multirun

    done: list[str] = []

    def run_once(settings: Settings) -> None:
        _require_launched(settings)
        with _terminal().live() as terminal:
            _train(settings, terminal)
        done.append(settings.output)

    failed = multirun(overrides, run_once, _terminal().log)
    if failed:
        reasons = "; ".join(f"{output}: {error}" for output, error in failed.items())
        invalid = not done and all(isinstance(error, InputError) for error in failed.values())
        error_type = InputError if invalid else RuntimeError
        raise error_type(f"{len(failed)} run{'s' if len(failed) > 1 else ''} of the sweep failed: {reasons}")


def _require_launched(settings: Settings) -> None:
    from medups.training.distributed import is_launched, is_single

    if not (is_launched() or is_single(settings.training.devices, settings.training.num_nodes)):
        raise InputError("a sweep on multiple devices must be launched by torchrun or by SLURM")


def _terminal() -> Terminal:
    """The terminal of this process; only the first process of a run prints."""
    from medups.training.distributed import is_first

    return Terminal(quiet=not is_first())
