"""Gather training runs, such as those of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from medups.errors import InputError
from medups.io.files import read_json, require_writable, user_path, write_csv, write_text
from medups.progress import Progress, SilentProgress
from medups.report.page.curves import Points
from medups.report.page.runs import TrainingRun, runs_page

_PAUSE = 600.0  # seconds without an event after which the training was interrupted
_NOT_SETTINGS = ("name", "output", "data.root", "data.cache", "seed", "network.module.upsampler")  # or said elsewhere
_OPTIONS = {"network.module.": "network.name", "upsampler.options.": "upsampler.name"}


def report(folders: Sequence[str | Path], output: str | Path, progress: Progress | None = None) -> list[TrainingRun]:
    """Write a page about training runs: settings that differ, scores over seeds, curves, cost against quality.

    Args:
        folders: run folders, or folders that have some below them.
        output: folder for runs.html and runs.csv.

    Returns:
        The runs.

    Raises:
        InputError: no runs, or a damaged config.json.
    """
    progress = progress or SilentProgress()
    found: dict[Path, str] = {}
    for folder in map(user_path, folders):
        configs = sorted(folder.rglob("config.json"))
        runs = [path.parent for path in configs if any(path.parent.glob("events.out.tfevents.*"))]
        if not runs:
            raise InputError(f"{folder}: no training runs in or below it; expected folders that medups train wrote")
        for run in runs:
            found.setdefault(run.resolve(), str(run.relative_to(folder)) if run != folder else folder.name)
    settings = [_flat(run) for run in found]
    differing = _differing(settings)
    target = user_path(output)
    require_writable(target)
    result = []
    for (run, name), own in progress.track(zip(found.items(), settings, strict=True), "runs", len(found)):
        result.append(_run(run, name, {setting: own.get(setting, "") for setting in differing}, own.get("seed")))
    header = ["run", *differing, "seed", "steps", "hours", "validation_dice"]
    rows = [
        [
            run.name,
            *run.settings.values(),
            run.seed,
            run.steps,
            round(run.hours, 4),
            "" if run.score is None else run.score,
        ]
        for run in result
    ]
    write_csv(target / "runs.csv", [header, *rows])
    write_text(target / "runs.html", runs_page(result))
    return result


def _differing(settings: Sequence[dict[str, Any]]) -> list[str]:
    """Settings with several values; options of networks and upsamplers only if runs of the same name differ in them."""
    names = dict.fromkeys(name for own in settings for name in own if not name.startswith(_NOT_SETTINGS))
    differing = []
    for name in names:
        option_of = next((kind for options, kind in _OPTIONS.items() if name.startswith(options)), None)
        values = {(own.get(option_of) if option_of else None, str(own[name])) for own in settings if name in own}
        if len(values) > len({kind for kind, _ in values}):
            differing.append(name)
    return differing


def _run(folder: Path, name: str, settings: dict[str, Any], seed: Any) -> TrainingRun:
    scalars = _scalars(folder)
    loss = scalars.get("train/loss", [])
    dice = next((scalars[f"val/{key}"] for key in ("dice", "iou", "ap", "pq") if scalars.get(f"val/{key}")), [])
    times = sorted(time for _, _, time in [*loss, *dice])
    gaps = [after - before for before, after in pairwise(times)]
    curves: list[Points] = [[(step, value) for step, value, _ in values] for values in (loss, dice)]
    return TrainingRun(
        name,
        settings,
        seed,
        steps=max((step for step, _, _ in [*loss, *dice]), default=0),
        hours=sum(gap for gap in gaps if gap < _PAUSE) / 3600,
        score=max((value for _, value, _ in dice), default=None),
        loss=curves[0],
        dice=curves[1],
    )


def _scalars(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Step, value and time of every scalar, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    events.Reload()
    return {
        tag: [(event.step, event.value, event.wall_time) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def _flat(run: Path) -> dict[str, Any]:
    """The settings of a run by dotted name."""
    content = read_json(run / "config.json")
    if not isinstance(content, dict):
        raise InputError(f"{run / 'config.json'}: expected the settings of a run, found other content")
    flat: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), item)
        else:
            flat[prefix] = value

    add("", content)
    return flat
