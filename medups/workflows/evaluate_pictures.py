"""Score class masks of pictures and write tables, pictures and a page. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medups.data.formats.pictures import picture_files
from medups.data.labels import LabelSet, label_set
from medups.data.pictures import read_picture
from medups.data.pictures.classes import CLASSES
from medups.errors import InputError
from medups.evaluation.pictures import PictureEvaluation, PicturePair, PictureResult, evaluate_pictures
from medups.io.files import require_writable, user_path, write_bytes, write_csv, write_json, write_text
from medups.progress import Progress, SilentProgress
from medups.report.page.picture_results import picture_results_page
from medups.report.pictures import side_by_side_png


@dataclass(frozen=True)
class PictureEvaluationResult:
    """Scores, the labels without a prediction, and where files were written, or None."""

    evaluation: PictureEvaluation
    unused_labels: list[str]
    folder: Path | None


def evaluate_images(
    pred: str | Path,
    label: str | Path,
    *,
    image: str | Path | None = None,
    pred_labels: str | None = None,
    label_labels: str | None = None,
    output: str | Path | None = None,
    pictures: int = 40,
    progress: Progress | None = None,
) -> PictureEvaluationResult:
    """Score masks of class ids against labels of the same relative paths.

    Args:
        pred, label: a mask or a folder of masks.
        image: the pictures, for the drawings.
        pred_labels, label_labels: label sets; by default the ``classes.json`` that prediction wrote.
        output: folder for report.html, summary.json, cases.csv and overlays; None writes nothing.
        pictures: draw this many of the pictures with the lowest mean IoU.

    Raises:
        InputError: files, label sets or sizes that do not match, before anything is written.
    """
    progress = progress or SilentProgress()
    preds, labels = _masks(user_path(pred)), _masks(user_path(label))
    images = _masks(user_path(image)) if image else {}
    single = len(preds) == len(labels) == 1
    if single:
        labels = dict(zip(preds, labels.values(), strict=True))
    if unpaired := [str(path) for name, path in preds.items() if name not in labels]:
        raise InputError(f"{label}: no label for {', '.join(unpaired[:5])}; relative paths must match")
    if missing := [str(path) for name, path in preds.items() if images and not single and name not in images]:
        raise InputError(f"{image}: no picture for {', '.join(missing[:5])}")
    own = _classes(user_path(pred), pred_labels)
    known = label_set(label_labels) if label_labels else own
    folder = user_path(output) if output else None
    if folder is not None:
        require_writable(folder)
    pairs = [
        PicturePair(name, path, labels[name], next(iter(images.values()), None) if single else images.get(name))
        for name, path in preds.items()
    ]
    update, done = progress.share("pictures"), 0
    results: list[PictureResult] = []

    def on_case(result: PictureResult) -> None:
        nonlocal done
        done += 1
        update(done / len(pairs))
        results.append(result)

    evaluation = evaluate_pictures(pairs, own, known, on_case)
    if folder is not None:
        _write(folder, evaluation, results, pictures)
    return PictureEvaluationResult(evaluation, [name for name in labels if name not in preds], folder)


def _masks(path: Path) -> dict[str, Path]:
    """Pictures or masks by relative path; the pictures that prediction draws beside its masks are left out."""
    if path.is_file():
        return {path.stem: path}
    return {name: file for name, file in picture_files(path).items() if not name.endswith(".preview")}


def _classes(pred: Path, name: str | None) -> LabelSet:
    if name is not None:
        return label_set(name)
    table = (pred.parent if pred.is_file() else pred) / CLASSES
    if not table.is_file():
        raise InputError(f"{table}: is missing; name the label set of the predictions with --pred-labels")
    return label_set(str(table))


def _write(folder: Path, evaluation: PictureEvaluation, results: list[PictureResult], drawn: int) -> None:
    rows = evaluation.rows()
    summary = evaluation.summary()
    means = {name: float(np.nanmean(counts.iou)) for name, counts in evaluation.counts.items()}
    worst = sorted(results, key=lambda result: means[result.pair.name])[:drawn]
    for result in worst:
        if result.pair.image is None:
            continue
        masks = {"prediction": result.pred, "label": result.label}
        title = f"{result.pair.name}, mean IoU {means[result.pair.name]:.3f}"
        drawing = side_by_side_png(read_picture(result.pair.image), masks, evaluation.labels, title)
        write_bytes(folder / "overlays" / f"{result.pair.name}.png", drawing)
    shown = [result.pair.name for result in worst if result.pair.image is not None]
    write_text(folder / "report.html", picture_results_page(summary, means, shown))
    cells = [[f"{value:.6f}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    write_csv(folder / "cases.csv", [list(rows[0]), *cells])
    write_json(folder / "summary.json", summary)
