"""Repair of masks: the largest part of an organ, and no holes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FACES = ndimage.generate_binary_structure(3, 1)


def postprocess(
    ids: NDArray[np.uint8],
    organs: Mapping[int, str],
    largest_component: Collection[str] = (),
    fill_holes: Collection[str] = (),
) -> NDArray[np.uint8]:
    """Ids [i, j, k] with the chosen organs repaired.

    Args:
        organs: names by id.
        largest_component: organs of which only the largest part stays; parts are connected by faces, and other parts
            become background.
        fill_holes: organs whose background without a connection to the border of the volume becomes the organ; holes
            that hold another organ stay.
    """
    result = ids.copy()
    boxes = ndimage.find_objects(ids, max(organs, default=0))
    for number, organ in organs.items():
        box = boxes[number - 1]
        if box is None or organ not in {*largest_component, *fill_holes}:
            continue
        inside = result[box] == number
        if organ in largest_component:
            parts, count = ndimage.label(inside, _FACES)
            if count > 1:
                largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
                result[box][inside & (parts != largest)] = 0
                inside = parts == largest
        if organ in fill_holes:
            filled = ndimage.binary_fill_holes(inside, _FACES)
            result[box][filled & (result[box] == 0)] = number
    return result
