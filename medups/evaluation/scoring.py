"""Scores of mask pairs, matched by organ name, and means with the number of cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.parallel import in_parallel
from medups.data.volumes import Grid, Volume, on_grid_of, resampled_to
from medups.data.volumes.read import read_labels, read_scan
from medups.evaluation.pairs import Pair
from medups.metrics import MEASURES, TOLERANCE_MM, OrganScore, evaluate_case, hd95_unit
from medups.metrics.case import Protocol

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class CaseResult:
    """Scores of one case and the canonical volumes they were computed from."""

    name: str
    scores: dict[str, OrganScore]
    pred: NDArray[np.uint8]
    label: NDArray[np.uint8]
    image: NDArray[np.float32] | None
    spacing_mm: tuple[float, float, float]
    others: dict[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All scores, by case name and organ."""

    protocol: Protocol
    organs: list[str]
    cases: dict[str, dict[str, OrganScore]]
    tolerance_mm: float | Mapping[str, float] = TOLERANCE_MM

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that the protocol defines."""
        return MEASURES[self.protocol]

    def summary(self) -> dict[str, Any]:
        """Means over cases, then over organs; each organ's mean includes its n."""
        organs = {organ: self._organ([scores[organ] for scores in self.cases.values()]) for organ in self.organs}
        return {
            "protocol": self.protocol,
            "n_cases": len(self.cases),
            "cases": list(self.cases),
            "hd95_unit": hd95_unit(self.protocol),
            **({"tolerance_mm": self.tolerance_mm} if "surface_dice" in self.measures else {}),
            "mean": {measure: _mean([organs[organ][measure] for organ in organs]) for measure in self.measures},
            "organs": organs,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per case and organ: case, organ, status, dice, hd95, hd95_unit, volumes, and the other measures."""
        others = [measure for measure in self.measures if measure not in ("dice", "hd95")]
        unit = hd95_unit(self.protocol)
        return [
            {
                "case": case,
                "organ": organ,
                "status": score.status,
                "dice": score.dice,
                "hd95": score.hd95,
                "hd95_unit": unit,
                "volume_ml": score.volume_ml,
                "label_volume_ml": score.label_volume_ml,
                **{measure: getattr(score, measure) for measure in others},
            }
            for case, scores in self.cases.items()
            for organ, score in scores.items()
        ]

    def to_frame(self) -> pandas.DataFrame:
        """:meth:`rows` as a pandas DataFrame. Raises ImportError if pandas is not installed."""
        import pandas

        return pandas.DataFrame(self.rows())

    def _organ(self, scores: Sequence[OrganScore]) -> dict[str, Any]:
        hallucinated = [score for score in scores if score.status == "hallucinated"]
        return {
            **{measure: _mean([getattr(score, measure) for score in scores]) for measure in self.measures},
            "n": sum(score.dice is not None for score in scores),
            "n_hd95": sum(score.hd95 is not None for score in scores),
            "n_missed": sum(score.status == "missed" for score in scores),
            "n_hallucinated": len(hallucinated),
            "hallucinated_ml": _sum([score.volume_ml for score in hallucinated]),
            "n_absent": sum(score.status == "absent" for score in scores),
        }


def evaluate(
    pairs: Sequence[Pair],
    pred_labels: Callable[[Path], LabelSet],
    label_labels: Callable[[Path], LabelSet],
    organs: Sequence[str],
    protocol: Protocol,
    on_case: Callable[[CaseResult], None],
    tolerance_mm: float | Mapping[str, float] = TOLERANCE_MM,
    resample: bool = False,
) -> Evaluation:
    """Score every pair, a few at a time, and call ``on_case`` with each result in order.

    Args:
        pred_labels, label_labels: return the label set of a mask.
        organs: names to compare; both sets must have them.
        tolerance_mm: of the surface Dice, for all organs or by organ.
        resample: accept predictions on another grid: each voxel of the label gets the id of the nearest one.

    Raises:
        InputError: an invalid file or label set, or an organ missing from a label set.
    """
    target = LabelSet("compared", dict(enumerate(organs, start=1)))
    aligned = resampled_to if resample else on_grid_of

    def scored(pair: Pair) -> CaseResult:
        sets = pred_labels(pair.pred), label_labels(pair.label)
        for labels in sets:
            for organ in organs:
                labels.id_of(organ)
        label = read_labels(pair.label, sets[1])
        if protocol == "physical":
            label.require_spacing("the physical protocol")
        grid = Grid(label.data.shape, label.affine)

        def mask_of(path: Path, own: LabelSet) -> NDArray[np.uint8]:
            return grid.to_canonical(own.convert(aligned(read_labels(path, own), label).data, target))

        pred, reference = mask_of(pair.pred, sets[0]), grid.to_canonical(sets[1].convert(label.data, target))
        ids = {organ: number for number, organ in target.organs.items()}
        steps = grid.steps_mm if label.has_spacing else None
        scores = evaluate_case(pred, reference, ids, steps, protocol, tolerance_mm)
        others = {name: mask_of(path, pred_labels(path)) for name, path in pair.others.items()}
        return CaseResult(pair.name, scores, pred, reference, _image(pair.image, label), grid.spacing, others)

    cases = {}
    for result in in_parallel(scored, pairs):
        cases[result.name] = result.scores
        on_case(result)
    return Evaluation(protocol, list(organs), cases, tolerance_mm)


def _image(path: Path | None, label: Volume) -> NDArray[np.float32] | None:
    if path is None:
        return None
    scan = read_scan(path)
    aligned = on_grid_of(scan, label)
    return Grid(aligned.data.shape, aligned.affine).to_canonical(aligned.data)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 3) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
