"""Score masks against labels and write files and pictures. Does not import torch or MONAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medups.data.volumes.volume import CT_WINDOW
from medups.errors import InputError
from medups.evaluation import CaseResult, Evaluation, Pair, beside, find_pairs, label_set_reader, shared_organs
from medups.evaluation import evaluate as score_pairs
from medups.evaluation.nnunet import nnunet_summary
from medups.io.files import require_writable, user_path, write_text
from medups.metrics.case import TOLERANCE_MM, Protocol
from medups.progress import Progress, SilentProgress
from medups.report.overlay import overlay_png, write_overlays
from medups.report.page import ViewedCase, results_page, viewed
from medups.report.paper import write_paper
from medups.report.tables import write_results


@dataclass(frozen=True)
class EvaluationResult:
    """Scores, and what they exclude.

    Args:
        evaluation: all scores; ``evaluation.summary()`` and ``evaluation.to_frame()`` view them.
        not_compared: named organs that are not compared.
        unused_labels: labels without a prediction.
        folder: where files were written, or None.
    """

    evaluation: Evaluation
    not_compared: list[str]
    unused_labels: list[str]
    folder: Path | None


def evaluate(
    pred: str | Path,
    label: str | Path,
    *,
    image: str | Path | None = None,
    also: Mapping[str, str | Path] | None = None,
    pred_labels: str | None = None,
    label_labels: str | None = None,
    organs: str | None = None,
    protocol: Protocol = "physical",
    tolerance_mm: float | Mapping[str, float] = TOLERANCE_MM,
    output: str | Path | None = None,
    display_window: tuple[float, float] = CT_WINDOW,
    resample: bool = False,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Score predicted masks against labels.

    Args:
        pred, label: a mask or a folder of masks; files are paired by name.
        image: the scans, for the pictures.
        also: masks of other models by name, shown beside the prediction in the report and not scored.
        pred_labels, label_labels: label sets of the masks; by default the table beside each mask.
        organs: a label set, or comma-separated names; by default all organs that both sides name.
        protocol: ``physical`` or ``synapse``; see :func:`medups.metrics.evaluate_case`.
        tolerance_mm: of the surface Dice, for all organs or by organ.
        output: folder for report.html, summary.json, cases.csv and overlays; None writes nothing.
        display_window: intensities that pictures show as black and as white; the default suits CT.
        resample: accept predictions on another grid than their label's, and take the nearest voxel.

    Raises:
        InputError: files, label sets or organs that do not match, before anything is written.
    """
    progress = progress or SilentProgress()
    if not display_window[0] < display_window[1]:
        raise InputError(f"display_window must be two increasing numbers, got {display_window}")
    pairs, unused = find_pairs(user_path(pred), user_path(label), user_path(image) if image else None)
    read_pred = label_set_reader(pred_labels, "--pred-labels")
    read_label = label_set_reader(label_labels, "--label-labels")
    pairs = beside(pairs, {name: user_path(path) for name, path in (also or {}).items()})
    names, not_compared = shared_organs(pairs, read_pred, read_label, organs)
    folder = user_path(output) if output else None
    _check_tolerance(tolerance_mm, names)
    if folder is not None:
        require_writable(folder)
    update = progress.share("cases")
    files = _Files(dict(enumerate(names, start=1)), display_window, {pair.name: pair for pair in pairs})
    finished = 0

    def on_case(result: CaseResult) -> None:
        nonlocal finished
        finished += 1
        if folder is not None:
            files.add(result)
        update(finished / len(pairs))

    evaluation = score_pairs(pairs, read_pred, read_label, names, protocol, on_case, tolerance_mm, resample)
    if folder is not None:
        files.write(folder, evaluation)
    return EvaluationResult(evaluation, not_compared, unused, folder)


@dataclass
class _Files:
    """What is written about an evaluation after all masks were scored, so that invalid input leaves nothing behind."""

    organs: dict[int, str]
    display_window: tuple[float, float]
    pairs: dict[str, Pair]
    pictures: dict[str, bytes] = field(default_factory=dict)
    volumes: list[ViewedCase] = field(default_factory=list)
    voxels: dict[str, int] = field(default_factory=dict)

    def add(self, result: CaseResult) -> None:
        masks = {"prediction": result.pred, "label": result.label}
        self.pictures[result.name] = overlay_png(
            result.image, masks, self.organs, result.spacing_mm, f"case {result.name}", self.display_window
        )
        masks = {"pred": result.pred, "label": result.label}
        self.volumes.append(
            viewed(
                result.name, masks, result.image, result.spacing_mm, self.display_window, len(self.pairs), result.others
            )
        )
        self.voxels[result.name] = result.label.size

    def write(self, folder: Path, evaluation: Evaluation) -> None:
        write_overlays(folder, self.pictures)
        write_text(folder / "report.html", results_page(evaluation, self.pictures, self.volumes))
        write_text(folder / "nnunet" / "summary.json", nnunet_summary(evaluation, self.pairs, self.voxels))
        write_paper(folder / "paper", evaluation)
        write_results(folder, evaluation)


def _check_tolerance(tolerance_mm: float | Mapping[str, float], organs: Sequence[str]) -> None:
    values = tolerance_mm if isinstance(tolerance_mm, Mapping) else {"all": tolerance_mm}
    if not all(value >= 0 for value in values.values()):
        raise InputError(f"tolerance_mm must not be negative, got {tolerance_mm}")
    if isinstance(tolerance_mm, Mapping) and (unknown := [name for name in tolerance_mm if name not in organs]):
        raise InputError(f"tolerance_mm: unknown organ {', '.join(unknown)}; the masks have {', '.join(organs)}")
