"""Scenes as files: pictures, index masks, and COCO annotations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.pictures.files import png_bytes
from medups.data.scenes.scene import STUFF, THINGS, Scene, make_scene
from medups.errors import InputError
from medups.io.files import write_bytes, write_json

_CATEGORIES = [
    {"id": number, "name": name, "supercategory": "scene", "isthing": int(number in THINGS)}
    for number, name in {**STUFF, **THINGS}.items()
]


def write_scenes(folder: Path, train: int, val: int, seed: int, height: int = 96, width: int = 128) -> Iterator[str]:
    """Write scenes and yield each one's name when its files are on disk; the annotations follow the last scene.

    Args:
        folder: gets ``images/PART/NNNN.png``, ``labels/PART/NNNN.png`` (class ids), ``panoptic/PART/NNNN.png`` (object
            numbers as colors), and ``annotations/instances_PART.json`` and ``panoptic_PART.json`` for the parts
            ``train`` and ``val``.
        train, val: numbers of scenes.
        seed: the same seed gives the same bytes.

    Raises:
        InputError: a number below its minimum.
    """
    for name, value, minimum in (
        ("train", train, 1), ("val", val, 1), ("height", height, 32), ("width", width, 32), ("seed", seed, 0),
    ):  # fmt: skip
        if value < minimum:
            raise InputError(f"scenes: {name} must be at least {minimum}, got {value}")
    names = {f"{part}/{number:04d}.png" for part, numbers in _numbers(train, val).items() for number in numbers}
    images = folder / "images"
    others = [path for path in images.rglob("*.png") if path.relative_to(images).as_posix() not in names]
    if others:
        raise InputError(f"{folder}: has other scenes, such as {others[0].name}; choose an empty folder")
    for part, numbers in _numbers(train, val).items():
        instances, segments = _coco(), _coco()
        for number in numbers:
            scene, name = make_scene(seed, number, height, width), f"{number:04d}"
            write_bytes(images / part / f"{name}.png", png_bytes(scene.picture))
            write_bytes(folder / "labels" / part / f"{name}.png", png_bytes(scene.ids))
            write_bytes(folder / "panoptic" / part / f"{name}.png", png_bytes(_segment_colors(scene)))
            _annotate(scene, number, f"{part}/{name}.png", instances, segments)
            yield name
        write_json(folder / "annotations" / f"instances_{part}.json", instances)
        write_json(folder / "annotations" / f"panoptic_{part}.json", segments)


def _numbers(train: int, val: int) -> dict[str, range]:
    """The scenes of each part."""
    return {"train": range(1, train + 1), "val": range(train + 1, train + val + 1)}


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's run-length code of a mask [H, W]: lengths of runs down the columns, of zeros first."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff([0, *changes, flat.size])
    return {"size": list(mask.shape), "counts": [*([0] if flat[0] else []), *map(int, counts)]}


def _coco() -> dict[str, Any]:
    return {"images": [], "annotations": [], "categories": _CATEGORIES}


def _annotate(scene: Scene, number: int, file_name: str, instances: dict[str, Any], segments: dict[str, Any]) -> None:
    height, width = scene.ids.shape
    image = {"id": number, "file_name": file_name, "height": height, "width": width}
    instances["images"].append(image)
    segments["images"].append(image)
    for instance, kind in scene.classes.items():
        mask = scene.instances == instance
        instances["annotations"].append(
            {
                "id": len(instances["annotations"]) + 1,
                "image_id": number,
                "category_id": kind,
                "bbox": _box(mask),
                "area": int(mask.sum()),
                "segmentation": run_lengths(mask),
                "iscrowd": 0,
            }
        )
    found = _segments(scene)
    segments["annotations"].append(
        {
            "image_id": number,
            "file_name": file_name,
            "segments_info": [
                {"id": key, "category_id": kind, "area": int(mask.sum()), "bbox": _box(mask), "iscrowd": 0}
                for key, (kind, mask) in found.items()
            ],
        }
    )


def _segments(scene: Scene) -> dict[int, tuple[int, NDArray[np.bool_]]]:
    """Class and mask of each object and each kind of background, by the number that the panoptic picture has."""
    objects = {100 + number: (kind, scene.instances == number) for number, kind in scene.classes.items()}
    stuff = {number: (number, (scene.ids == number) & (scene.instances == 0)) for number in STUFF}
    return {key: found for key, found in {**stuff, **objects}.items() if found[1].any()}


def _segment_colors(scene: Scene) -> NDArray[np.uint8]:
    colors = np.zeros((*scene.ids.shape, 3), dtype=np.uint8)
    for key, (_, mask) in _segments(scene).items():
        colors[mask] = key % 256, key // 256 % 256, key // 65536
    return colors


def _box(mask: NDArray[np.bool_]) -> list[int]:
    """Left, top, width and height."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
