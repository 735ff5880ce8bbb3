"""nnU-Net v2 raw datasets: ``imagesTr/liver_001_0000.nii.gz``, ``labelsTr/liver_001.nii.gz``, ``dataset.json``."""

from __future__ import annotations

from pathlib import Path

from medups.data.cases import ONLY_CHANNEL, Case, DataSpec, Listing, pair_up, unique_by_name
from medups.data.formats.root import root_of
from medups.data.labels import LabelSet
from medups.errors import InputError
from medups.io.files import read_json

_ENDINGS = (".nii.gz", ".nii")


def nnunet(data: DataSpec) -> Listing:
    """A single-channel dataset folder, such as ``Dataset007_Pancreas``.

    ``imagesTs`` are the test cases, with masks from ``labelsTs`` if there are any.

    Raises:
        InputError: several channels, an unsupported file ending, or a ``dataset`` table that lists files elsewhere.
    """
    root = root_of(data)
    source = root / "dataset.json"
    content = read_json(source)
    if not isinstance(content, dict) or "labels" not in content:
        raise InputError(f"{source}: expected the keys labels and channel_names")
    channels = content.get("channel_names") or content.get("modality") or {}
    if not isinstance(channels, dict):
        raise InputError(f"{source}: expected channel_names to map numbers to names, found {channels!r}")
    if len(channels) > 1:
        names = ", ".join(map(str, channels.values()))
        raise InputError(f"{root}: expected one channel, found {len(channels)} channels ({names})")
    ending = str(content.get("file_ending", _ENDINGS[0]))
    if ending not in _ENDINGS:
        raise InputError(f"{source}: file_ending {ending} is not supported; convert the files to .nii.gz")
    if "dataset" in content:
        raise InputError(f"{source}: the key dataset lists files elsewhere, which is not supported; use data=datalist")
    train, problems = pair_up(_images(root / "imagesTr"), _files(root / "labelsTr"), root)
    masks = _files(root / "labelsTs")
    test = {name: Case(name, path, masks.get(name)) for name, path in _images(root / "imagesTs").items()}
    split = {"train": list(train), "test": list(test)}
    return Listing({**train, **test}, LabelSet.of_json(content, source), split, problems)


def _images(folder: Path) -> dict[str, Path]:
    return {name.removesuffix(ONLY_CHANNEL): path for name, path in _files(folder).items()}


def _files(folder: Path) -> dict[str, Path]:
    """Files by case name; hidden ones, such as macOS's ``._x.nii.gz``, are skipped."""
    return unique_by_name(path for path in sorted(folder.glob("*.nii*")) if not path.name.startswith("."))
