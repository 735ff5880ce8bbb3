"""Plain folders of images and of masks, which pair up by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medups.data.cases import Listing, case_key, pair_up
from medups.data.readers import find_scans
from medups.errors import InputError


def folders(config: Mapping[str, Any]) -> Listing:
    """Scans in ``root/images``, NIfTI or a folder each of DICOM, and masks of the same names in ``root/labels``; what
    ``img``, ``label`` or ``case`` stands before a number does not count. Both folders' names can be configured."""
    root = Path(str(config["root"]))
    found = [_by_key(root / str(config[kind])) for kind in ("images", "labels")]
    return Listing(pair_up(found[0], found[1], root))


def _by_key(folder: Path) -> dict[str, Path]:
    cases: dict[str, Path] = {}
    for path in find_scans(folder):
        if cases.setdefault(case_key(path), path) != path:
            raise InputError(f"{folder}: {path.name} and {cases[case_key(path)].name} stand for one case")
    return cases
