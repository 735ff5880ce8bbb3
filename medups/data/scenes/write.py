"""Scenes as files: pictures, index masks, and COCO annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from medups.data.labels import LabelSet
from medups.data.pictures.coco_entries import categories_of, objects_entries, segment_colors, segments_entry
from medups.data.pictures.files import png_bytes
from medups.data.pictures.objects import Objects, Segments, box_of
from medups.data.scenes.scene import STUFF, THINGS, Scene, make_scene
from medups.errors import InputError
from medups.io.files import write_bytes, write_json


def write_scenes(folder: Path, train: int, val: int, seed: int, height: int = 96, width: int = 128) -> Iterator[str]:
    """Write scenes and yield each one's name when its files are on disk; the annotations follow the last scene.

    Args:
        folder: gets ``images/PART/NNNN.png``, ``labels/PART/NNNN.png`` (class ids), and COCO's annotations
            for the parts ``train`` and ``val``: ``annotations/instances_PART.json`` of objects, and
            ``panoptic_PART.json`` with ``panoptic_PART/NNNN.png`` (segment numbers as colors).
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
        instances, segments = _coco(THINGS), _coco({**STUFF, **THINGS})
        for number in numbers:
            scene, name = make_scene(seed, number, height, width), f"{number:04d}"
            write_bytes(images / part / f"{name}.png", png_bytes(scene.picture))
            write_bytes(folder / "labels" / part / f"{name}.png", png_bytes(scene.ids))
            colors = segment_colors(_segments(scene).numbers)
            write_bytes(folder / "annotations" / f"panoptic_{part}" / f"{name}.png", png_bytes(colors))
            _annotate(scene, number, f"{part}/{name}.png", instances, segments)
            yield name
        write_json(folder / "annotations" / f"instances_{part}.json", instances)
        write_json(folder / "annotations" / f"panoptic_{part}.json", segments)


def _numbers(train: int, val: int) -> dict[str, range]:
    """The scenes of each part."""
    return {"train": range(1, train + 1), "val": range(train + 1, train + val + 1)}


def _coco(classes: Mapping[int, str]) -> dict[str, Any]:
    labels = LabelSet("scenes", classes, stuff=frozenset(STUFF) & frozenset(classes))
    return {"images": [], "annotations": [], "categories": categories_of(labels)}


def _annotate(scene: Scene, number: int, file_name: str, instances: dict[str, Any], segments: dict[str, Any]) -> None:
    height, width = scene.ids.shape
    image = {"id": number, "file_name": file_name, "height": height, "width": width}
    for file in (instances, segments):
        file["images"].append(image)
    for entry in objects_entries(_objects(scene), number):
        instances["annotations"].append({"id": len(instances["annotations"]) + 1, **entry})
    segments["annotations"].append(segments_entry(_segments(scene), number, PurePosixPath(file_name).name))


def _objects(scene: Scene) -> Objects:
    masks = np.array([scene.instances == instance for instance in scene.classes]).reshape(-1, *scene.ids.shape)
    boxes = np.array([box_of(mask) for mask in masks], dtype=np.float64).reshape(-1, 4)
    return Objects(
        np.array(list(scene.classes.values()), dtype=np.int64), boxes, masks, np.zeros(len(masks), dtype=bool)
    )


def _segments(scene: Scene) -> Segments:
    """Objects are numbered from 101; each kind of background has its class id as its number."""
    numbers = np.where(scene.instances > 0, scene.instances.astype(np.int32) + 100, scene.ids)
    objects = {100 + number: kind for number, kind in scene.classes.items()}
    visible = set(np.unique(numbers).tolist())
    return Segments(
        numbers, {number: kind for number, kind in {**{n: n for n in STUFF}, **objects}.items() if number in visible}
    )
