"""A case (a scan and its mask), and the content of a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from medups.data.labels import LabelSet
from medups.errors import InputError

PARTS = ("train", "val", "test")
ONLY_CHANNEL = "_0000"
"""Suffix of scan names in nnU-Net's single-channel datasets."""


class DataSpec(Protocol):
    """Where a dataset is and how to split it; see ``medups.settings.schema.DataSettings`` for each field."""

    @property
    def format(self) -> str: ...
    @property
    def root(self) -> str | None: ...
    @property
    def images(self) -> str: ...
    @property
    def labels(self) -> str: ...
    @property
    def cases(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def source_labels(self) -> str | None: ...
    @property
    def fold(self) -> int | None: ...
    @property
    def split(self) -> SplitSpec: ...


class SplitSpec(Protocol):
    """Case names by part; None for the split in the dataset's own files."""

    @property
    def train(self) -> Sequence[str] | None: ...
    @property
    def val(self) -> Sequence[str] | None: ...
    @property
    def test(self) -> Sequence[str] | None: ...


@dataclass(frozen=True)
class Case:
    """A scan and its label mask.

    image, label: a file, a folder of one DICOM series, or a pattern that matches a scan's slices
    (``case0005_slice*.npz``). label is None for an unlabeled scan.
    """

    name: str
    image: Path
    label: Path | None

    def missing_files(self, source: str) -> list[str]:
        """A message, starting with ``source``, for each file that does not exist."""
        files = (self.image, self.label)
        return [f"{source}: no such file {path}" for path in files if path is not None and not _exists(path)]


@dataclass(frozen=True)
class Listing:
    """The content of a dataset.

    Args:
        cases: by name.
        labels: ids and organs, if the dataset's own files define them.
        split: case names by part, as the dataset's own files list them.
        problems: missing files and unpaired files.
        folds: cross-validation fold by case name, if the dataset's own files assign one.
        notes: content of the dataset's own files that this reader ignores.
    """

    cases: Mapping[str, Case]
    labels: LabelSet | None = None
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problems: Sequence[str] = ()
    folds: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def case_key(path: Path) -> str:
    """The key that pairs a scan, its mask and its prediction: the name without file ending and prefix."""
    return re.sub(r"^(img|label|case)_?(?=\d)", "", case_name(path))


def case_name(path: Path) -> str:
    """File or folder name without the file ending of a scan."""
    return re.sub(r"(\.nii(\.gz)?|(\.npy)?\.h5|\.(hdr|img|nrrd|nhdr|mha|mhd|dcm|zip))$", "", path.name)


def unique_by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Files by :func:`case_name`. Raises InputError if one case is stored in two formats."""
    by_name: dict[str, Path] = {}
    for file in files:
        first = by_name.setdefault(case_name(file), file)
        if first != file:
            raise InputError(f"{file}: {first.name} in the same folder names the same case; keep one")
    return by_name


def pair_up(images: Mapping[str, Path], labels: Mapping[str, Path], source: Path) -> tuple[dict[str, Case], list[str]]:
    """Cases from images and masks paired by name, and messages about unpaired files.

    Raises:
        InputError: no image has a mask.
    """
    problems = [
        f"{source}: images and labels do not pair up: {len(names)} {kind} ({', '.join(names)})"
        for names, kind in (
            (sorted(set(images) - set(labels)), "images without a mask"),
            (sorted(set(labels) - set(images)), "masks without an image"),
        )
        if names
    ]
    cases = {name: Case(name, images[name], labels[name]) for name in sorted(set(images) & set(labels))}
    if not cases:
        raise InputError("; ".join(problems) or f"{source}: no images with masks in this folder")
    return cases, problems
