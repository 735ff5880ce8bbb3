"""nnU-Net v2 raw datasets: ``imagesTr/liver_001_0000.nii.gz``, ``labelsTr/liver_001.nii.gz``, ``dataset.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medups.data.cases import ONLY_CHANNEL, Case, Listing, case_name, pair_up
from medups.data.labels import LabelSet
from medups.errors import InputError
from medups.files import read_json


def nnunet(config: Mapping[str, Any]) -> Listing:
    """A folder of one channel, as ``Dataset007_Pancreas``; ``imagesTs`` are the test cases, with masks where
    ``labelsTs`` has them."""
    root = Path(str(config["root"]))
    about = read_json(root / "dataset.json")
    if not isinstance(about, dict) or "labels" not in about:
        raise InputError(f"{root / 'dataset.json'}: expected the keys labels and channel_names")
    channels = about.get("channel_names") or about.get("modality") or {}
    if len(channels) > 1:
        raise InputError(
            f"{root}: {len(channels)} channels ({', '.join(map(str, channels.values()))}); one is read here"
        )
    train, problems = pair_up(_images(root / "imagesTr"), _files(root / "labelsTr"), root)
    masks = _files(root / "labelsTs")
    test = {name: Case(name, path, masks.get(name)) for name, path in _images(root / "imagesTs").items()}
    split = {"train": list(train), "test": list(test)}
    return Listing({**train, **test}, LabelSet.of_json(about, root / "dataset.json"), split, problems)


def _images(folder: Path) -> dict[str, Path]:
    return {name.removesuffix(ONLY_CHANNEL): path for name, path in _files(folder).items()}


def _files(folder: Path) -> dict[str, Path]:
    return {case_name(path): path for path in sorted(folder.glob("*.nii*"))}
