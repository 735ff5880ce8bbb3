"""How medups reads the files of each format; only InputError may be raised."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from medups.bundle.model import load_bundle
from medups.data.dataset import open_dataset
from medups.data.labels import LabelSet, label_set
from medups.data.pictures import read_mask, read_picture
from medups.data.pictures.coco import read_coco, read_objects, read_segments
from medups.data.volumes.find import find_scans
from medups.data.volumes.read import read_labels, read_scan
from medups.errors import InputError
from medups.io.checkpoints import load_checkpoint
from medups.networks.pictures import SegNeXt
from medups.weights import load_published
from medups.workflows.compare import compare

LABELS = LabelSet("two", {1: "a", 2: "b"})


def volumes(path: Path) -> None:
    """A scan, a mask, and the folder that it is in."""
    find_scans(path.parent)
    _each(lambda: read_scan(path), lambda: read_labels(path, LABELS))


def dicom(path: Path) -> None:
    found = find_scans(path.parent)
    _each(*(lambda scan=scan: read_scan(scan) for scan in found.scans))


def preprocessed(path: Path) -> None:
    source = path if path.suffix == ".h5" else path.parent / "case0001_slice*.npz"
    _each(lambda: read_scan(source), lambda: read_labels(source, LABELS))


def tables(path: Path) -> None:
    if path.name == "dataset.json":
        _each(lambda: label_set(str(path)), lambda: open_dataset(_data("nnunet", path.parent)))
    elif path.name == "datalist.json":
        _each(lambda: open_dataset(_data("datalist", path)), lambda: label_set(str(path)))
    elif path.name in ("summary.json", "cases.csv"):
        compare([path.parent])
    else:
        label_set(str(path))


def coco(path: Path) -> None:
    root = path.parents[1]
    for file in (root / "annotations").glob("*.json"):
        _each(lambda file=file: _read_coco(file, root))


def _read_coco(file: Path, root: Path) -> None:
    content = read_coco(file)
    read = read_segments if content.panoptic else read_objects
    _each(*(lambda name=name, about=about: read(content, name, root / "images" / about["file_name"])
            for name, about in content.images.items()))  # fmt: skip


def pictures(path: Path) -> None:
    _each(lambda: read_picture(path), lambda: read_mask(path, LABELS))


def archives(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parents[1]) as scratch:
        found = find_scans(path, Path(scratch))
        _each(*(lambda scan=scan: read_scan(scan) for scan in found.scans))


def bundle(path: Path) -> None:
    if path.name == "last.pt":
        _each(lambda: load_checkpoint(path), lambda: _published(path))
        return
    load_bundle(path.parents[1])


def _published(path: Path) -> None:
    try:
        load_published(SegNeXt(2, "tiny"), path, "segnext")
    except ValueError as error:  # what it is documented to raise
        raise InputError(str(error)) from error


def _data(kind: str, root: Path) -> SimpleNamespace:
    split = SimpleNamespace(train=None, val=None, test=None)
    return SimpleNamespace(
        format=kind,
        root=str(root),
        images="images",
        labels="labels",
        cases=[],
        source_labels=None,
        fold=None,
        split=split,
    )


def _each(*actions: Callable[[], object]) -> None:
    """Run all; raise InputError if all do, because what is wrong for one reader may be right for another."""
    refused: list[InputError] = []
    for action in actions:
        try:
            action()
        except InputError as error:
            refused.append(error)
    if refused and len(refused) == len(actions):
        raise refused[0]


READERS: dict[str, Callable[[Path], None]] = {
    "nifti": volumes,
    "itk": volumes,
    "dicom": dicom,
    "preprocessed": preprocessed,
    "h5": preprocessed,
    "tables": tables,
    "coco": coco,
    "pictures": pictures,
    "archives": archives,
    "bundle": bundle,
}
