"""What a mask says about each organ: its volume, place and intensities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medups.data.volumes.volume import voxel_ml


@dataclass(frozen=True)
class OrganFacts:
    """One organ in one mask; all but volume and voxels are None if it is absent.

    Args:
        volume_ml: milliliters.
        mean, std: of the scan's intensities inside the organ, population standard deviation.
        box: first and last voxel index along each axis of the mask.
        centroid_mm: the mean position of its voxels, in the affine's millimeters (RAS+).
    """

    volume_ml: float
    voxels: int
    mean: float | None = None
    std: float | None = None
    box: tuple[tuple[int, int], ...] | None = None
    centroid_mm: tuple[float, float, float] | None = None


def organ_facts(
    ids: NDArray[np.integer], intensities: NDArray[np.floating], affine: NDArray[np.float64], organs: Mapping[int, str]
) -> dict[str, OrganFacts]:
    """The facts of every organ, by name.

    Args:
        ids, intensities: [i, j, k], on the same grid.
        affine: from voxel indices to millimeters.
        organs: names by id.
    """
    milliliters = voxel_ml(affine)
    boxes = ndimage.find_objects(ids, max(organs, default=0))
    facts = {}
    for number, organ in organs.items():
        box = boxes[number - 1]
        if box is None:
            facts[organ] = OrganFacts(0.0, 0)
            continue
        inside = ids[box] == number
        values = intensities[box][inside].astype(np.float64)
        center = [float(at.mean() + part.start) for at, part in zip(np.nonzero(inside), box, strict=True)]
        x, y, z = (affine @ [*center, 1.0])[:3].tolist()
        facts[organ] = OrganFacts(
            volume_ml=len(values) * milliliters,
            voxels=len(values),
            mean=float(values.mean()),
            std=float(values.std()),
            box=tuple((part.start, part.stop - 1) for part in box),
            centroid_mm=(x, y, z),
        )
    return facts
