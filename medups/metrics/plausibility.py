"""What is implausible about a mask, without a label to compare it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Kind = Literal["missing", "side", "volume", "pieces", "edge"]
WEIGHTS: Mapping[Kind, float] = {"missing": 3, "side": 3, "volume": 2, "pieces": 1, "edge": 0.5}
"""How much a finding counts when cases are sorted."""
_LEAST_OUTSIDE = 0.02  # of an organ, outside its largest piece
_DEVIATIONS = 3.5  # robust standard deviations, after Iglewicz and Hoaglin
_LEAST_DEVIATION = 0.1  # of the logarithm, some 10 percent
_ENDS = (("lower", "upper"), ("front", "back"), ("right", "left"))


@dataclass(frozen=True)
class Finding:
    """One thing that a person should look at."""

    organ: str
    kind: Kind
    text: str


@dataclass(frozen=True)
class UsualVolume:
    """The range of plausible volumes of an organ, in mL."""

    low: float
    high: float

    @classmethod
    def of(cls, volumes_ml: Sequence[float]) -> UsualVolume:
        """Robust: the median of the logarithms, and 3.5 of their scaled median absolute deviations on both sides."""
        logs = np.log(volumes_ml)
        middle = float(np.median(logs))
        deviation = max(1.4826 * float(np.median(np.abs(logs - middle))), _LEAST_DEVIATION)
        return cls(exp(middle - _DEVIATIONS * deviation), exp(middle + _DEVIATIONS * deviation))


def find_implausible(
    ids: NDArray[np.integer], organs: Mapping[int, str], voxel_ml: float, usual: Mapping[str, UsualVolume] | None = None
) -> list[Finding]:
    """The findings of one mask, the worst first.

    Args:
        ids: [S, P, L], with axes toward head, back and the patient's left.
        organs: names by id; ``left_X`` and ``right_X`` must lie on these sides of each other, liver right of spleen.
        voxel_ml: volume of a voxel.
        usual: volumes that are not flagged; an organ at the edge of the scan may be smaller.
    """
    findings, centers = [], {}
    boxes = ndimage.find_objects(ids, max(organs, default=0))
    for number, organ in organs.items():
        box = boxes[number - 1]
        if box is None:
            findings.append(Finding(organ, "missing", "not found"))
            continue
        inside = ids[box] == number
        centers[organ] = float(np.nonzero(inside)[2].mean()) + box[2].start
        ends = touched_ends(box, ids.shape)
        if ends:
            findings.append(Finding(organ, "edge", f"touches the {', '.join(ends)} end of the scan"))
        findings += _pieces(organ, inside)
        findings += _volume(organ, float(inside.sum()) * voxel_ml, (usual or {}).get(organ), bool(ends))
    findings += _sides(centers)
    return sorted(findings, key=lambda finding: -WEIGHTS[finding.kind])


def touched_ends(box: tuple[slice, ...], shape: Sequence[int]) -> list[str]:
    """The ends of the scan that a box touches."""
    return [
        name
        for part, n, names in zip(box, shape, _ENDS, strict=True)
        for name, touches in zip(names, (part.start == 0, part.stop == n), strict=True)
        if touches
    ]


def _pieces(organ: str, inside: NDArray[np.bool_]) -> list[Finding]:
    labeled, count = ndimage.label(inside, np.ones((3, 3, 3)))
    if count < 2:
        return []
    sizes = np.bincount(labeled.ravel())[1:]
    outside = 1 - sizes.max() / sizes.sum()
    if outside < _LEAST_OUTSIDE:
        return []
    return [Finding(organ, "pieces", f"{count} pieces, {outside:.0%} outside the largest")]


def _volume(organ: str, volume_ml: float, usual: UsualVolume | None, at_edge: bool) -> list[Finding]:
    if usual is None or (volume_ml <= usual.high and (at_edge or volume_ml >= usual.low)):
        return []
    return [Finding(organ, "volume", f"{volume_ml:.3g} mL, usual are {usual.low:.3g} to {usual.high:.3g}")]


def _sides(centers: Mapping[str, float]) -> list[Finding]:
    pairs = [(name, "right_" + name.removeprefix("left_")) for name in centers if name.startswith("left_")]
    return [
        Finding(left, "side", f"lies right of the {right.replace('_', ' ')}: exchanged, or a mirrored scan?")
        for left, right in [*pairs, ("spleen", "liver")]
        if left in centers and right in centers and centers[left] < centers[right]
    ]
