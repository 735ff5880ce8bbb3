"""Objects and segments in the form of COCO's files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.pictures import run_lengths
from medups.data.pictures.objects import Objects, Segments, box_of


def objects_entries(objects: Objects, image_id: int) -> list[dict[str, Any]]:
    """Annotations, or results with scores, in COCO's form."""
    entries = []
    for number, category in enumerate(objects.ids.tolist()):
        left, top, right, bottom = (round(float(value), 2) for value in objects.boxes[number])
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": category,
            "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        }
        if objects.masks is not None:
            entry["segmentation"] = run_lengths.encode(objects.masks[number])
            entry["area"] = int(objects.masks[number].sum())
        else:
            entry["area"] = (right - left) * (bottom - top)
        if objects.scores is not None:
            entry["score"] = round(float(objects.scores[number]), 5)
        entry["iscrowd"] = int(objects.crowd[number])
        entries.append(entry)
    return entries


def segments_entry(segments: Segments, image_id: int, file_name: str) -> dict[str, Any]:
    """The annotation of a picture in COCO's panoptic form; its mask is :func:`segment_colors`."""
    rows = []
    for number, category in segments.ids.items():
        mask = segments.numbers == number
        left, top, right, bottom = box_of(mask)
        row: dict[str, Any] = {
            "id": number,
            "category_id": category,
            "area": int(mask.sum()),
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": int(number in segments.crowd),
        }
        if segments.scores is not None and number in segments.scores:
            row["score"] = round(segments.scores[number], 5)
        rows.append(row)
    return {"image_id": image_id, "file_name": file_name, "segments_info": rows}


def segment_colors(numbers: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Segment numbers [H, W] as colors [H, W, 3]."""
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)


def categories_of(labels: LabelSet) -> list[dict[str, Any]]:
    """The classes in COCO's form."""
    return [{"id": n, "name": name, "isthing": int(n not in labels.stuff)} for n, name in labels.organs.items()]
