"""TransUNet's preprocessed Synapse: ``train_npz/case0005_slice000.npz`` and ``test_vol_h5/case0001.npy.h5``."""

from __future__ import annotations

import re
from pathlib import Path

from medups.data.cases import Case, DataSpec, Listing, case_key
from medups.data.formats.root import root_of
from medups.data.labels import label_set
from medups.errors import InputError

_LIST_FOLDERS = ("lists/lists_Synapse", "lists", ".")


def transunet(data: DataSpec) -> Listing:
    """Cases by number below ``root``, split into train and test by their folder.

    If ``root`` or its ``lists/lists_Synapse`` holds the published lists, ``train.txt`` and ``test_vol.txt``, all
    their entries must exist.
    """
    root = root_of(data)
    # names that begin with a dot are macOS's
    slices = {path.stem for path in (root / "train_npz").glob("[!.]*.npz")}
    volumes = {path.name.removesuffix(".npy.h5"): path for path in (root / "test_vol_h5").glob("[!.]*.npy.h5")}
    if not slices and not volumes:
        raise InputError(f"{root}: expected slices in train_npz or volumes in test_vol_h5, found neither")
    problems = [
        f"{root}: {len(missing)} entries of {name} are missing, {missing[0]} first; copy them again"
        for name, present in (("train.txt", slices), ("test_vol.txt", set(volumes)))
        if (missing := sorted(_published_list(root, name) - present))
    ]
    train = [_case_of_slices(root / "train_npz", name) for name in sorted({_case_of(name, root) for name in slices})]
    test = [Case(case_key(path), path, path) for path in sorted(volumes.values())]
    split = {"train": [case.name for case in train], "test": [case.name for case in test]}
    return Listing({case.name: case for case in (*test, *train)}, label_set("synapse8"), split, problems)


def _case_of_slices(folder: Path, name: str) -> Case:
    pattern = folder / f"{name}_slice*.npz"
    return Case(case_key(Path(name)), pattern, pattern)


def _case_of(stem: str, root: Path) -> str:
    match = re.fullmatch(r"(.+)_slice\d+", stem)
    if match is None:
        raise InputError(f"{root / 'train_npz' / stem}.npz: expected a name like case0005_slice000.npz")
    return match[1]


def _published_list(root: Path, name: str) -> set[str]:
    for folder in _LIST_FOLDERS:
        if (root / folder / name).is_file():
            return set((root / folder / name).read_text(encoding="utf-8").split())
    return set()
