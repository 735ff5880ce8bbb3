"""Folders of images and masks, paired by name."""

from __future__ import annotations

from medups.data.cases import DataSpec, Listing, pair_up
from medups.data.formats.root import root_of
from medups.data.volumes.find import scans_by_key


def folders(data: DataSpec) -> Listing:
    """Scans in ``root/images`` and masks of the same names in ``root/labels``.

    Scans are files of any format that is read, or one folder per DICOM series. The prefixes ``img``, ``label`` and
    ``case`` before a number are ignored. ``data.images`` and ``data.labels`` rename the two folders.
    """
    root = root_of(data)
    images, labels = (scans_by_key(root / folder) for folder in (data.images, data.labels))
    cases, problems = pair_up(images, labels, root)
    return Listing(cases, problems=problems)
