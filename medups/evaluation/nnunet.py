"""nnU-Net's ``summary.json``, so that scripts made for it go on, and evaluations by nnU-Net can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medups.data.cases import case_name
from medups.data.labels import LabelSet
from medups.errors import InputError
from medups.evaluation.pairs import Pair
from medups.evaluation.scoring import Evaluation
from medups.io.files import read_json
from medups.metrics import Overlap

PROTOCOL = "nnunet"
"""A predicted organ without a label has Dice 0, and one in neither mask has none."""


def nnunet_summary(evaluation: Evaluation, pairs: Mapping[str, Pair], voxels: Mapping[str, int]) -> str:
    """The content of a summary as nnU-Net v2 writes it, with NaN for organs in neither mask.

    Args:
        pairs: the files of each case.
        voxels: of each case.
    """
    numbers = {organ: str(number) for number, organ in enumerate(evaluation.organs, start=1)}
    metrics = {
        case: {
            numbers[organ]: _metrics(score.overlap, voxels[case])
            for organ, score in scores.items()
            if score.overlap is not None
        }
        for case, scores in evaluation.cases.items()
    }
    means = {number: _mean([case[number] for case in metrics.values()]) for number in numbers.values()}
    content = {
        "foreground_mean": _mean(list(means.values())),
        "mean": means,
        "metric_per_case": [
            {"metrics": own, "prediction_file": str(pairs[case].pred), "reference_file": str(pairs[case].label)}
            for case, own in metrics.items()
        ],
        "organs": {number: organ for organ, number in numbers.items()},
    }
    return json.dumps(content, indent=2) + "\n"


def is_nnunet(summary: Any) -> bool:
    """Whether the content of a summary.json is nnU-Net's."""
    return isinstance(summary, dict) and isinstance(summary.get("metric_per_case"), list)


def dice_by_case(summary: Mapping[str, Any], path: Path) -> dict[str, dict[str, float]]:
    """Dice by organ and case, NaN where there is none.

    Organs have the names of the ``dataset.json`` beside the summary, or of the summary that medups wrote, or else their
    ids as names.

    Raises:
        InputError: other content than expected.
    """
    names = dict(summary.get("organs") or {})
    dataset = path.with_name("dataset.json")
    if not names and dataset.is_file():
        labels = LabelSet.of_json(read_json(dataset), dataset)
        names = {str(number): organ for number, organ in labels.organs.items()}
    table: dict[str, dict[str, float]] = {}
    seen: set[str] = set()
    try:
        for case in summary["metric_per_case"]:
            name = case_name(Path(case["prediction_file"]))
            if name in seen:
                raise InputError(f"{path}: the case {name} is listed twice")
            seen.add(name)
            for number, metrics in case["metrics"].items():
                dice = metrics["Dice"]
                table.setdefault(names.get(number, number), {})[name] = float("nan") if dice is None else float(dice)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: a damaged summary of nnU-Net ({type(error).__name__}: {error})") from error
    return table


def _metrics(overlap: Overlap, voxels: int) -> dict[str, float]:
    false_positive, false_negative = overlap.pred - overlap.shared, overlap.label - overlap.shared
    dice, iou = (float("nan") if ratio is None else ratio for ratio in (overlap.dice, overlap.iou))
    return {
        "Dice": dice,
        "FN": false_negative,
        "FP": false_positive,
        "IoU": iou,
        "TN": voxels - overlap.shared - false_positive - false_negative,
        "TP": overlap.shared,
        "n_pred": overlap.pred,
        "n_ref": overlap.label,
    }


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    means = {}
    for name in rows[0]:
        known = [row[name] for row in rows if not np.isnan(row[name])]
        means[name] = float(np.mean(known)) if known else float("nan")
    return means
