"""Score predicted objects or panoptic segments and write tables, pictures and a page. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medups.data.parallel import in_parallel
from medups.data.pictures.coco import CocoFile, read_coco, read_results
from medups.data.pictures.files import read_picture
from medups.errors import InputError
from medups.evaluation.objects import ObjectEvaluation
from medups.evaluation.panoptic import PanopticEvaluation
from medups.io.files import require_writable, user_path, write_bytes, write_csv, write_json, write_text
from medups.progress import Progress, SilentProgress
from medups.report.objects import objects_png
from medups.report.page.object_results import object_results_page
from medups.report.tables import number

RESULTS = {"detection": "objects.json", "panoptic": "panoptic.json"}
"""What prediction writes in its folder, by task."""
_SHOWN = 5


@dataclass(frozen=True)
class ObjectEvaluationResult:
    """Scores, their summary, the annotated pictures without a prediction, and where files were written, or None."""

    evaluation: ObjectEvaluation | PanopticEvaluation
    summary: Mapping[str, Any]
    unused_labels: list[str]
    folder: Path | None


def evaluate_objects(
    task: str,
    pred: str | Path,
    label: str | Path,
    *,
    image: str | Path | None = None,
    output: str | Path | None = None,
    pictures: int = 40,
    progress: Progress | None = None,
) -> ObjectEvaluationResult:
    """Score predictions against annotations in COCO's form.

    Args:
        task: ``detection`` or ``panoptic``.
        pred: the folder that prediction wrote, a file in its form, or COCO's list of results for all pictures.
        label: the annotation file.
        image: the folder of the pictures, for the drawings.
        output: folder for report.html, summary.json, cases.csv and overlays; None writes nothing.
        pictures: draw this many of the pictures with the lowest scores.

    Raises:
        InputError: files that cannot be read or do not fit, before anything is written.
    """
    progress = progress or SilentProgress()
    source, folder = user_path(pred), user_path(output) if output else None
    source = source / RESULTS[task] if source.is_dir() else source
    reference = read_coco(user_path(label))
    predicted = read_results(source, reference)
    _check(task, predicted, reference)
    if folder is not None:
        require_writable(folder)
    images = user_path(image) if image else None
    evaluation = ObjectEvaluation(reference.labels) if task == "detection" else PanopticEvaluation(reference.labels)

    def scored(name: str) -> tuple[str, Any]:
        return name, evaluation.score(predicted, reference, name, _image(images, reference, name))[0]

    names = list(predicted.images)
    for name, scores in progress.track(in_parallel(scored, names), "pictures", len(names)):
        evaluation.scores[name] = scores
    summary = evaluation.summary()
    if folder is not None:
        drawings = {}
        worst = sorted(names, key=lambda one: _order(evaluation.scores[one].quality))
        for name in worst[:pictures] if images is not None else []:
            title = f"{name}, {evaluation.quality} {number(evaluation.scores[name].quality, 3)}"
            path = _image(images, reference, name)
            assert path is not None  # only pairs with a picture are drawn
            _, prediction, annotation = evaluation.score(predicted, reference, name, path)
            both: dict[str, Any] = {"prediction": prediction, "label": annotation}
            drawings[name] = objects_png(read_picture(path), both, reference.labels, title)
        _write(folder, evaluation, summary, drawings)
    unused = [name for name in reference.images if name not in predicted.images]
    return ObjectEvaluationResult(evaluation, summary, unused, folder)


def _check(task: str, predicted: CocoFile, reference: CocoFile) -> None:
    if not predicted.images:
        raise InputError(f"{predicted.path}: no pictures were predicted")
    for file in (predicted, reference):
        has_any = any(file.annotations.values())
        if has_any and file.panoptic != (task == "panoptic"):
            raise InputError(f"{file.path}: {'panoptic segments' if file.panoptic else 'objects'}, but --task {task}")
    if dict(predicted.labels.organs) != dict(reference.labels.organs):
        raise InputError(f"{predicted.path}: its categories differ from those of {reference.path}")
    if lost := [name for name in predicted.images if name not in reference.images]:
        raise InputError(f"{reference.path}: no annotation of {', '.join(lost[:_SHOWN])}; file names must match")
    for name, about in predicted.images.items():
        sizes = [(one["height"], one["width"]) for one in (about, reference.images[name])]
        if sizes[0] != sizes[1]:
            raise InputError(f"{predicted.path}: {name} has {sizes[0]} pixels, in {reference.path} {sizes[1]}")


def _image(folder: Path | None, reference: CocoFile, name: str) -> Path | None:
    return None if folder is None else folder / str(reference.images[name]["file_name"])


def _order(quality: float | None) -> float:
    return 2.0 if quality is None else quality


def _write(
    folder: Path,
    evaluation: ObjectEvaluation | PanopticEvaluation,
    summary: Mapping[str, Any],
    drawings: Mapping[str, bytes],
) -> None:
    rows = evaluation.rows()
    for name, drawing in drawings.items():
        write_bytes(folder / "overlays" / f"{name}.png", drawing)
    qualities = {name: scores.quality for name, scores in evaluation.scores.items()}
    write_text(folder / "report.html", object_results_page(summary, evaluation.quality, qualities, list(drawings)))
    cells = [[_cell(value) for value in row.values()] for row in rows]
    write_csv(folder / "cases.csv", [list(rows[0]), *cells])
    write_json(folder / "summary.json", summary)


def _cell(value: Any) -> object:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else value
