"""Plain folders of images and of masks, which pair up by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medups.data.cases import Listing, pair_up
from medups.data.readers import scans_by_key


def folders(config: Mapping[str, Any]) -> Listing:
    """Scans in ``root/images``, NIfTI or a folder each of DICOM, and masks of the same names in ``root/labels``; what
    ``img``, ``label`` or ``case`` stands before a number does not count. Both folders' names can be configured."""
    root = Path(str(config["root"]))
    found = [scans_by_key(root / str(config[kind])) for kind in ("images", "labels")]
    cases, problems = pair_up(found[0], found[1], root)
    return Listing(cases, problems=problems)
