"""Masks of COCO's annotations: run-length codes, polygons, or the rectangles of boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.pictures import run_lengths
from medups.errors import InputError

LONGEST_SIDE = 2**15
"""Pixels of a picture; polygons may reach twice as far."""


def mask_of(path: Path, entry: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask [H, W] of an annotation. Raises InputError that names it."""
    code = entry.get("segmentation")
    try:
        if not code:
            return _rectangle(entry["bbox"], size)
        return _filled(code, size) if isinstance(code, list) else run_lengths.decode(code, size)
    except ValueError as error:
        raise InputError(f"{path}: annotation {entry.get('id')}: {error}") from error


def _filled(polygons: list[Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Polygons as COCO's tools fill them. Raises ValueError for anything else."""
    from faster_coco_eval.core import mask as coco_mask

    polygons = [polygon for polygon in polygons if not is_line(polygon)]
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs at least three points of two numbers each")
        if not all(is_number(value) and abs(value) <= 2 * LONGEST_SIDE for value in polygon):
            raise ValueError("a polygon's points must be numbers near the picture")
    codes = coco_mask.frPyObjects(polygons, *size)
    return np.asarray(coco_mask.decode(coco_mask.merge(codes))).astype(bool)


def _rectangle(box: list[float], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a box, for objects that have no mask."""
    left, top, width, height = box
    mask = np.zeros(size, dtype=bool)
    mask[max(0, round(top)) : max(0, round(top + height)), max(0, round(left)) : max(0, round(left + width))] = True
    return mask


def is_line(polygon: Any) -> bool:
    """Whether a polygon has fewer than three points, as tools for labeling leave behind."""
    return isinstance(polygon, list) and len(polygon) < 6


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
