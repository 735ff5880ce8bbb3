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
from medups.metrics.pixels import PixelCounts
from medups.progress import Progress, SilentProgress
from medups.report.page.picture_results import picture_results_page
from medups.report.pictures import side_by_side_png
from medups.report.tables import number


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
    single = user_path(pred).is_file() and user_path(label).is_file()
    if single:
        labels = dict(zip(preds, labels.values(), strict=True))
    if unpaired := [str(path) for name, path in preds.items() if name not in labels]:
        raise InputError(f"{label}: no label for {', '.join(unpaired[:5])}; relative paths must match")
    if single and len(images) == 1:
        images = dict(zip(preds, images.values(), strict=True))
    if missing := [str(path) for name, path in preds.items() if images and name not in images]:
        raise InputError(f"{image}: no picture for {', '.join(missing[:5])}")
    own = _classes(user_path(pred), pred_labels)
    known = label_set(label_labels) if label_labels else own
    folder = user_path(output) if output else None
    if folder is not None:
        require_writable(folder)
        for given in (pred, label, *([image] if image else [])):
            if user_path(given).is_dir() and folder.resolve().is_relative_to(user_path(given).resolve()):
                raise InputError(f"{output}: is inside {given}, whose pictures are read; choose another output")
    pairs = [PicturePair(name, path, labels[name], images.get(name)) for name, path in preds.items()]
    update, done = progress.share("pictures"), 0
    results: list[PictureResult] = []

    def on_case(result: PictureResult) -> None:
        nonlocal done
        done += 1
        update(done / len(pairs))
        if images and folder is not None:  # only the worst are kept, and drawn
            results.append(result)
            results.sort(key=lambda one: _mean_iou(one.counts) or 0)
            del results[pictures:]

    evaluation = evaluate_pictures(pairs, own, known, on_case)
    if folder is not None:
        _write(folder, evaluation, results)
    return PictureEvaluationResult(evaluation, [name for name in labels if name not in preds], folder)


def _masks(path: Path) -> dict[str, Path]:
    """Pictures or masks by relative path; the pictures that prediction draws beside its masks are left out."""
    if path.is_file():
        return {path.stem: path}
    found = picture_files(path)
    previews = {f"{name}.preview" for name in found}
    return {name: file for name, file in found.items() if name not in previews}


def _classes(pred: Path, name: str | None) -> LabelSet:
    if name is not None:
        return label_set(name)
    table = pred.with_suffix(f".{CLASSES}") if pred.is_file() else pred / CLASSES
    if not table.is_file():
        raise InputError(f"{table}: is missing; name the label set of the predictions with --pred-labels")
    return label_set(str(table))


def _write(folder: Path, evaluation: PictureEvaluation, worst: list[PictureResult]) -> None:
    rows = evaluation.rows()
    summary = evaluation.summary()
    means = {name: _mean_iou(counts) for name, counts in evaluation.counts.items()}
    drawings = {result.pair.name: _drawing(result, evaluation.labels) for result in worst}
    for name, drawing in drawings.items():
        write_bytes(folder / "overlays" / f"{name}.png", drawing)
    write_text(folder / "report.html", picture_results_page(summary, means, list(drawings)))
    cells = [[f"{value:.6f}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    write_csv(folder / "cases.csv", [list(rows[0]), *cells])
    write_json(folder / "summary.json", summary)


def _drawing(result: PictureResult, labels: LabelSet) -> bytes:
    assert result.pair.image is not None  # only pairs with a picture are drawn
    picture = read_picture(result.pair.image)
    if picture.shape[:2] != result.label.shape:
        raise InputError(
            f"{result.pair.image}: the picture has {picture.shape[1]} x {picture.shape[0]} pixels, its masks "
            f"{result.label.shape[1]} x {result.label.shape[0]}"
        )
    masks = {"prediction": result.pred, "label": result.label}
    title = f"{result.pair.name}, mean IoU {number(_mean_iou(result.counts), 3)}"
    return side_by_side_png(picture, masks, labels, title)


def _mean_iou(counts: PixelCounts) -> float | None:
    """Over the classes in a picture; None if all of it is ignored."""
    known = counts.iou[~np.isnan(counts.iou)]
    return float(known.mean()) if known.size else None
