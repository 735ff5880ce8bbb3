"""Raw Synapse (BTCV): ``img/img0001.nii.gz`` and ``label/label0001.nii.gz``."""

from __future__ import annotations

import re
from pathlib import Path

from medups.data.cases import DataSpec, Listing, pair_up, unique_by_name
from medups.data.formats.root import root_of
from medups.errors import InputError


def synapse(data: DataSpec) -> Listing:
    """Cases by number. ``root`` is the folder with ``img`` and ``label``, or holds them in ``RawData/Training``."""
    root = root_of(data)
    for folder in (root, root / "Training", root / "RawData" / "Training"):
        if (folder / "img").is_dir() and (folder / "label").is_dir():
            break
    else:
        raise InputError(f"{root}: expected the folders img and label here or in RawData/Training")
    cases, problems = pair_up(_by_number(folder / "img", "img"), _by_number(folder / "label", "label"), folder)
    return Listing(cases, problems=problems)


def _by_number(folder: Path, prefix: str) -> dict[str, Path]:
    pattern = re.compile(rf"^{prefix}(\d+)\.nii(\.gz)?$")
    files = unique_by_name(path for path in sorted(folder.iterdir()) if pattern.match(path.name))
    return {name.removeprefix(prefix): path for name, path in files.items()}
