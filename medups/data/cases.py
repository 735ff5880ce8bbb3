"""A case: a scan and its mask, and what a dataset's own files say of its cases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medups.data.labels import LabelSet
from medups.errors import InputError

PARTS = ("train", "val", "test")
ONLY_CHANNEL = "_0000"
"""How nnU-Net names the scans of a dataset that has one channel."""


@dataclass(frozen=True)
class Case:
    """A scan and its label mask.

    image, label: a file, a folder of one DICOM series, or a pattern that names a scan's slices
    (``case0005_slice*.npz``). label is None for a scan that nobody labelled.
    """

    name: str
    image: Path
    label: Path | None

    def missing_files(self, source: str) -> list[str]:
        """A sentence, which begins with ``source``, for each file that is not there."""
        files = (self.image, self.label)
        return [f"{source}: no such file {path}" for path in files if path is not None and not path.exists()]


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    cases: by name. labels: which id means which organ, where the dataset's own files say so. split: names of the
    parts that the dataset's own files list. problems: files that are missing, or that nothing goes with.
    """

    cases: Mapping[str, Case]
    labels: LabelSet | None = None
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problems: Sequence[str] = ()


def case_key(path: Path) -> str:
    """What pairs a scan, its mask and its prediction: the name without endings and without img, label or case."""
    return re.sub(r"^(img|label|case)_?(?=\d)", "", case_name(path))


def case_name(path: Path) -> str:
    """File or folder name without the endings of a scan."""
    return re.sub(r"(\.nii(\.gz)?|(\.npy)?\.h5)$", "", path.name)


def pair_up(images: Mapping[str, Path], labels: Mapping[str, Path], source: Path) -> tuple[dict[str, Case], list[str]]:
    """Cases from images and masks by name, and what does not pair up. Raises InputError where nothing does."""
    problems = [
        f"{source}: image and label do not pair up: {len(lonely)} {what} ({', '.join(lonely)})"
        for lonely, what in (
            (sorted(set(images) - set(labels)), "images without a mask"),
            (sorted(set(labels) - set(images)), "masks without an image"),
        )
        if lonely
    ]
    cases = {name: Case(name, images[name], labels[name]) for name in sorted(set(images) & set(labels))}
    if not cases:
        raise InputError("; ".join(problems) or f"{source}: no images with masks found there")
    return cases, problems
