"""Read COCO's annotation files. Every fault is an InputError that names the file and the entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet
from medups.data.pictures.coco_masks import LONGEST_SIDE, is_line, is_number, mask_of
from medups.data.pictures.files import read_picture
from medups.data.pictures.objects import Objects, Segments, box_of
from medups.errors import InputError
from medups.io.files import read_json

Entry = Mapping[str, Any]
_SHOWN = 5


@dataclass(frozen=True)
class CocoFile:
    """The annotations of a set of pictures, by the picture's name: its file name without the ending.

    Args:
        images: the entry of each picture.
        annotations: the entries of each picture's objects; of a panoptic file, one entry.
        labels: ids and names of the classes, with ``stuff`` for those without objects.
        panoptic: a panoptic file, whose masks are pictures in a folder of the same name.
        degenerate: number of objects without any area, which are left out.
        categories: the entries of the classes.
    """

    path: Path
    images: Mapping[str, Entry]
    annotations: Mapping[str, list[Entry]]
    labels: LabelSet
    panoptic: bool
    degenerate: int = 0
    categories: Sequence[Entry] = ()


def read_coco(path: Path) -> CocoFile:
    """Read and check an annotation file; a file that did not change is read once.

    Raises:
        InputError: not such a file, unknown or repeated ids, annotations without a picture, or impossible boxes.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read_results(path: Path, reference: CocoFile) -> CocoFile:
    """Read predictions: an annotation file with scores, or COCO's list of results for the pictures of ``reference``.

    Raises:
        InputError: see :func:`read_coco`, or predictions without scores.
    """
    content = read_json(path)
    about = {"images": list(reference.images.values()), "categories": reference.categories}
    if isinstance(content, list):
        sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in reference.images.values()}
        content = {"annotations": [_numbered(path, entry, n, sizes) for n, entry in enumerate(content)]}
    results = _checked(path, {**about, **content} if isinstance(content, dict) else content)
    for entries in results.annotations.values():
        for entry in entries:
            if not results.panoptic and not is_number(entry.get("score")):
                raise InputError(f"{path}: annotation {entry.get('id')}: a prediction needs a score")
    return results


def _numbered(path: Path, entry: Any, number: int, sizes: Mapping[int, tuple[int, int]]) -> Any:
    """An entry of a list of results with an id, and with the box of its mask if it has none."""
    if not isinstance(entry, dict):
        return entry
    entry = {"id": number, **entry}
    code, image = entry.get("segmentation"), entry.get("image_id")
    if "bbox" in entry or not code or type(image) is not int or image not in sizes:
        return entry
    mask = mask_of(path, entry, sizes[image])
    left, top, right, bottom = box_of(mask) if mask.any() else (0, 0, 0, 0)
    return {**entry, "bbox": [left, top, right - left, bottom - top]}


@lru_cache(maxsize=4)
def _read(path: Path, modified: int) -> CocoFile:
    del modified
    return _checked(path, read_json(path))


def _checked(path: Path, content: Any) -> CocoFile:
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected COCO's annotations, found a {type(content).__name__}")
    images, annotations, categories = (_entries(path, content, key) for key in ("images", "annotations", "categories"))
    panoptic = any("segments_info" in entry for entry in annotations)
    labels = _labels(path, categories)
    for entry in images:
        _check_image(path, entry)
    by_id = _unique(path, images, "image id", lambda entry: entry["id"])
    names = {number: _name(entry) for number, entry in by_id.items()}
    _unique(path, images, "image file_name", _name)
    lost = [entry for entry in annotations if type(entry.get("image_id")) is not int or entry["image_id"] not in by_id]
    if lost:
        raise InputError(
            f"{path}: {len(lost)} annotations of pictures that are not listed, {_listed(lost, 'image_id')}"
        )
    by_name: dict[str, list[Entry]] = {name: [] for name in names.values()}
    if panoptic:
        _unique(path, annotations, "annotation of the image", lambda entry: entry["image_id"])
    else:
        _unique(path, annotations, "annotation id", lambda entry: str(entry.get("id")))
    degenerate = 0
    for entry in annotations:
        if panoptic:
            _check_segments(path, entry, labels)
        elif not _check_object(path, entry, labels):
            degenerate += 1
            continue
        by_name[names[entry["image_id"]]].append(entry)
    images_by_name = {names[number]: entry for number, entry in by_id.items()}
    return CocoFile(path, images_by_name, by_name, labels, panoptic, degenerate, categories)


def read_objects(file: CocoFile, name: str, image: Path | None) -> tuple[NDArray[np.uint8] | None, Objects]:
    """A picture [H, W, 3], if ``image`` names one, and its objects.

    Annotations without a mask get the rectangle of their box; predictions keep no masks if any of them lacks one.

    Raises:
        InputError: a mask or a picture of another size.
    """
    picture = None if image is None else _picture(file, name, image)
    entries = file.annotations[name]
    size = file.images[name]["height"], file.images[name]["width"]
    scored = any("score" in entry for entry in entries)
    masks = None
    if not scored or all(entry.get("segmentation") for entry in entries):
        masks = np.zeros((len(entries), *size), dtype=bool)
        for number, entry in enumerate(entries):
            masks[number] = mask_of(file.path, entry, size)
    boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return picture, Objects(
        np.array([entry["category_id"] for entry in entries], dtype=np.int64),
        boxes,
        masks,
        np.array([bool(entry.get("iscrowd", 0)) for entry in entries], dtype=bool),
        np.array([entry["score"] for entry in entries], dtype=np.float64) if scored or not entries else None,
    )


def read_segments(file: CocoFile, name: str, image: Path | None) -> tuple[NDArray[np.uint8] | None, Segments]:
    """A picture [H, W, 3], if ``image`` names one, and its segments.

    Raises:
        InputError: no annotation, a mask of another size, or segments that only the mask or only the file has.
    """
    picture = None if image is None else _picture(file, name, image)
    if not file.annotations[name]:
        raise InputError(f"{file.path}: no annotation of the picture {name}")
    entry = file.annotations[name][0]
    folder = file.path.with_suffix("")
    file_name = PurePosixPath(entry["file_name"])
    places = (folder / file_name, folder.parent / file_name, folder.parent / file_name.name)
    path = next((place for place in places if place.is_file()), places[0])
    colors = read_picture(path).astype(np.int32)
    numbers = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
    about = file.images[name]
    if numbers.shape != (about["height"], about["width"]):
        raise InputError(
            f"{path}: the mask has {numbers.shape[1]} x {numbers.shape[0]} pixels, its picture {about['width']} x "
            f"{about['height']}"
        )
    ids = {int(segment["id"]): int(segment["category_id"]) for segment in entry["segments_info"]}
    drawn = set(np.unique(numbers).tolist()) - {0}
    if drawn != set(ids):
        raise InputError(
            f"{path}: segments that only the mask has: {sorted(drawn - set(ids))[:_SHOWN]}, or only "
            f"{file.path.name}: {sorted(set(ids) - drawn)[:_SHOWN]}"
        )
    crowd = frozenset(int(segment["id"]) for segment in entry["segments_info"] if segment.get("iscrowd"))
    return picture, Segments(numbers.astype(np.int32), ids, crowd)


def _picture(file: CocoFile, name: str, image: Path) -> NDArray[np.uint8]:
    picture = read_picture(image)
    about = file.images[name]
    if picture.shape[:2] != (about["height"], about["width"]):
        raise InputError(
            f"{image}: has {picture.shape[1]} x {picture.shape[0]} pixels, {file.path.name} says {about['width']} x "
            f"{about['height']}"
        )
    return picture


def _entries(path: Path, content: Mapping[str, Any], key: str) -> list[Entry]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: expected COCO's annotations with a list {key!r} of entries")
    return entries


def _unique(path: Path, entries: Iterable[Entry], what: str, key: Callable[[Entry], Hashable]) -> dict[Hashable, Entry]:
    keys = [key(entry) for entry in entries]
    if repeated := [value for value, count in Counter(keys).items() if count > 1]:
        raise InputError(f"{path}: {what} {', '.join(map(str, repeated[:_SHOWN]))} occurs more than once")
    return dict(zip(keys, entries, strict=True))


def _labels(path: Path, categories: list[Entry]) -> LabelSet:
    for entry in categories:
        if type(entry.get("id")) is not int or entry["id"] < 1 or not isinstance(entry.get("name"), str):
            raise InputError(f"{path}: a category needs a name and a whole-number id of 1 or more, found {entry}")
    _unique(path, categories, "category id", lambda entry: entry["id"])
    stuff = frozenset(entry["id"] for entry in categories if not entry.get("isthing", 1))
    return LabelSet(path.name, {entry["id"]: entry["name"] for entry in categories}, frozenset({0}), stuff)


def _check_image(path: Path, entry: Entry) -> None:
    size = entry.get("height"), entry.get("width")
    if type(entry.get("id")) is not int or not isinstance(entry.get("file_name"), str):
        raise InputError(f"{path}: an image needs a whole-number id and a file_name, found {str(entry)[:80]}")
    if not all(type(n) is int and 0 < n <= LONGEST_SIDE for n in size):
        raise InputError(f"{path}: image {entry['id']}: height and width must be whole numbers above 0, found {size}")
    name = PurePosixPath(entry["file_name"])
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise InputError(
            f"{path}: image {entry['id']}: file_name {str(name)!r} is no file in the folder of the pictures"
        )


def _check_object(path: Path, entry: Entry, labels: LabelSet) -> bool:
    """Whether an object has an area. Raises InputError for what is no object."""
    _check_class(path, f"annotation {entry.get('id')}", entry, labels)
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
        raise InputError(f"{path}: annotation {entry.get('id')}: bbox must be four numbers, found {str(box)[:60]}")
    code = entry.get("segmentation")
    lines_only = isinstance(code, list) and bool(code) and all(is_line(polygon) for polygon in code)
    return bool(box[2] > 0 and box[3] > 0) and not lines_only


def _check_segments(path: Path, entry: Entry, labels: LabelSet) -> None:
    what = f"annotation of image {entry['image_id']}"
    segments, name = entry.get("segments_info"), entry.get("file_name")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise InputError(f"{path}: {what}: expected a list segments_info, as other annotations have")
    if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InputError(f"{path}: {what}: expected the file_name of a mask, found {name!r}")
    for segment in segments:
        if type(segment.get("id")) is not int or not 0 < segment["id"] < 2**24:
            raise InputError(f"{path}: {what}: segment ids must be 1 to {2**24 - 1}, found {segment.get('id')!r}")
        _check_class(path, what, segment, labels)
    _unique(path, segments, f"{what}: segment id", lambda segment: segment["id"])


def _check_class(path: Path, what: str, entry: Entry, labels: LabelSet) -> None:
    number = entry.get("category_id")
    if type(number) is not int or number not in labels.organs:
        raise InputError(f"{path}: {what}: category_id {number!r} is not listed in categories")


def _name(entry: Entry) -> str:
    return PurePosixPath(entry["file_name"]).with_suffix("").as_posix()


def _listed(entries: list[Entry], key: str) -> str:
    return f"such as {key} {', '.join(str(entry.get(key)) for entry in entries[:_SHOWN])}"
