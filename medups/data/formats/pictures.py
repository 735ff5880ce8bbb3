"""Folders of pictures and index masks, as in ADE20K, and Pascal VOC's layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medups.data.cases import PARTS, DataSpec, Listing, pair_up
from medups.data.formats.root import root_of
from medups.data.pictures.files import ENDINGS
from medups.errors import InputError

_SPLITS = {"train": ("train", "training"), "val": ("val", "validation"), "test": ("test", "testing")}


def pictures(data: DataSpec) -> Listing:
    """Pictures in ``root/images`` and masks of the same names in ``root/labels``, in any subfolders.

    A case is named after its path without the ending, such as ``training/street_1``. Subfolders ``train`` or
    ``training``, ``val`` or ``validation`` and ``test`` are the split. ``data.images`` and ``data.labels`` rename the
    two folders.
    """
    root = root_of(data)
    images, labels = (picture_files(root / folder) for folder in (data.images, data.labels))
    cases, problems = pair_up(images, labels, root)
    split = {part: [name for name in cases if name.split("/")[0] in _SPLITS[part]] for part in PARTS}
    return Listing(cases, split={part: names for part, names in split.items() if names}, problems=problems)


def voc(data: DataSpec) -> Listing:
    """Pascal VOC: ``JPEGImages``, ``SegmentationClass``, and the lists in ``ImageSets/Segmentation``.

    Pictures without a mask belong to VOC's other tasks and are left out.
    """
    root = root_of(data)
    images, labels = picture_files(root / "JPEGImages"), picture_files(root / "SegmentationClass")
    if lost := sorted(set(labels) - set(images)):
        raise InputError(f"{root}: masks without a picture: {', '.join(lost)}")
    cases, problems = pair_up({name: images[name] for name in labels}, labels, root)
    split = {}
    for part in ("train", "val"):
        path = root / "ImageSets" / "Segmentation" / f"{part}.txt"
        if path.is_file():
            split[part] = path.read_text(encoding="utf-8").split()
    return Listing(cases, split=split, problems=problems)


def picture_files(folder: Path) -> Mapping[str, Path]:
    """Pictures below ``folder`` by their path without the ending, sorted; hidden files are left out.

    Raises:
        InputError: no such folder, no pictures, or two files of one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.suffix.lower() not in ENDINGS or path.is_dir() or any(part.startswith(".") for part in relative.parts):
            continue
        first = found.setdefault(relative.with_suffix("").as_posix(), path)
        if first != path:
            raise InputError(f"{path}: {first.name} in the same folder names the same picture; keep one")
    if not found:
        raise InputError(f"{folder}: no pictures ({', '.join(ENDINGS)}) in this folder")
    return found
