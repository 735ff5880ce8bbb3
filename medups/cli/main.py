"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from medups import __version__
from medups.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 done, 1 failed, 2 wrong input."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if "overrides" in options and not any(word.startswith("-") for word in rest):
        options.overrides += rest  # those behind an option, which argparse does not take together
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        options.run(options)
    except InputError as error:
        return _say("error", str(error), 2)
    except KeyboardInterrupt:
        how = "train goes on from its last checkpoint, predict with --skip-existing"
        return _say("stopped", f"interrupted, nothing half-written is left; {how}", 1)
    except Exception as error:  # the last line of defence: a person gets a sentence, MEDUPS_TRACEBACK=1 gives the rest
        if os.environ.get("MEDUPS_TRACEBACK"):
            traceback.print_exc()
        message = str(error).strip() or type(error).__name__
        return _say("failed", f"{type(error).__name__}: {message} (MEDUPS_TRACEBACK=1 shows where)", 1)
    return 0


def run() -> None:
    """Entry point of the ``medups`` command."""
    sys.exit(main())


def _say(kind: str, message: str, code: int) -> int:
    print(f"medups: {kind}: {' '.join(message.split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medups", description="Medical image segmentation with swappable upsampling.")
    parser.add_argument("--version", action="version", version=f"medups {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    # imported in the functions, so that --help does not wait for torch
    sub = command("phantom", _phantom, "Write abdominal CT phantoms in the raw Synapse layout.")
    sub.add_argument("folder")
    sub.add_argument("--cases", type=int, default=20)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--size", type=int, default=128, help="pixels a side of a slice")
    sub.add_argument("--slices", type=int, default=40)

    sub = command("prepare", _prepare, "Check a dataset, show it, and fill the cache. Takes the overrides of train.")
    sub.add_argument("overrides", nargs="*", metavar="key=value")
    sub.add_argument("--output", default="runs/dataset", metavar="FOLDER")

    sub = command("train", _train, "Train a network; the result is a bundle folder. Takes hydra overrides.")
    sub.add_argument("overrides", nargs="*", metavar="key=value")
    how = sub.add_mutually_exclusive_group()
    how.add_argument("-m", "--multirun", action="store_true", help="a run for each combination of values: seed=0,1,2")
    how.add_argument("--profile", action="store_true", help="time some steps with and without their data")

    sub = command("ensemble", _ensemble, "One bundle of several: predictions are the mean of its members'.")
    sub.add_argument("models", nargs="+", metavar="BUNDLE")
    sub.add_argument("--output", required=True, metavar="FOLDER")

    sub = command("baseline", _baseline, "Write the voxel classifier's masks of the test cases.")
    sub.add_argument("overrides", nargs="*", metavar="key=value")

    sub = command("predict", _predict, "Segment a scan or a folder of scans.")
    sub.add_argument("--model", required=True, metavar="BUNDLE")
    sub.add_argument("--input", required=True, metavar="SCAN|FOLDER")
    sub.add_argument("--output", required=True, metavar="FILE|FOLDER")
    sub.add_argument("--cases", help="names separated by commas, or test, val or train: the bundle's split")
    sub.add_argument("--skip-existing", action="store_true", help="go on where an earlier run stopped")
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, ...; a GPU where there is one by default")

    sub = command("evaluate", _evaluate, "Dice and HD95 of every organ, as a table, files and pictures.")
    sub.add_argument("--pred", required=True, metavar="FILE|FOLDER")
    sub.add_argument("--label", required=True, metavar="FILE|FOLDER")
    sub.add_argument("--image", metavar="FILE|FOLDER", help="the scans, for the pictures")
    sub.add_argument("--pred-labels", metavar="SET", help="default: the .labels.json beside each mask")
    sub.add_argument("--label-labels", metavar="SET", help="default: the .labels.json beside each mask")
    sub.add_argument("--organs", metavar="SET", help="a label set or names separated by commas; default: all in both")
    sub.add_argument("--protocol", choices=("synapse", "physical"), default="physical")
    sub.add_argument("--output", required=True, metavar="FOLDER")

    sub = command("compare", _compare, "One row for each evaluation folder.")
    sub.add_argument("folders", nargs="+", metavar="FOLDER")
    return parser


def _phantom(options: argparse.Namespace) -> None:
    from medups.cli.masks import phantom

    phantom(options.folder, options.cases, options.seed, options.size, options.slices)


def _prepare(options: argparse.Namespace) -> None:
    from medups.cli.datasets import prepare

    prepare(options.overrides, options.output)


def _train(options: argparse.Namespace) -> None:
    from medups.cli import models

    kind = models.sweep if options.multirun else models.profile if options.profile else models.train
    kind(options.overrides)


def _ensemble(options: argparse.Namespace) -> None:
    from medups.cli.models import ensemble

    ensemble(options.models, options.output)


def _baseline(options: argparse.Namespace) -> None:
    from medups.cli.models import baseline

    baseline(options.overrides)


def _predict(options: argparse.Namespace) -> None:
    from medups.cli.models import predict

    predict(options.model, options.input, options.output, options.cases, options.skip_existing, options.device)


def _evaluate(options: argparse.Namespace) -> None:
    from medups.cli.masks import evaluate

    evaluate(
        options.pred, options.label, options.image, options.pred_labels, options.label_labels,
        options.organs, options.protocol, options.output,
    )  # fmt: skip


def _compare(options: argparse.Namespace) -> None:
    from medups.cli.masks import compare

    compare(options.folders)


if __name__ == "__main__":
    run()
