"""Raw Synapse (BTCV): ``img/img0001.nii.gz`` and ``label/label0001.nii.gz``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medups.data.cases import Listing, pair_up
from medups.errors import InputError


def synapse(config: Mapping[str, Any]) -> Listing:
    """Cases by number under ``root``: the folder that holds ``img`` and ``label``, or one above it
    (``RawData/Training``)."""
    root = Path(str(config["root"]))
    for folder in (root, root / "Training", root / "RawData" / "Training"):
        if (folder / "img").is_dir() and (folder / "label").is_dir():
            break
    else:
        raise InputError(f"{root}: expected the folders img and label here or in RawData/Training")
    cases, problems = pair_up(_numbered(folder / "img", "img"), _numbered(folder / "label", "label"), folder)
    return Listing(cases, problems=problems)


def _numbered(folder: Path, prefix: str) -> dict[str, Path]:
    pattern = re.compile(rf"^{prefix}(\d+)\.nii(\.gz)?$")
    return {match[1]: path for path in sorted(folder.iterdir()) if (match := pattern.match(path.name))}
