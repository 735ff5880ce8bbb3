"""Label sets: which id means which organ. Data, predictions and evaluation meet by organ name, never by id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from medups.data.nifti import volume_bytes
from medups.errors import InputError
from medups.files import configs_dir, json_bytes, read_json, whole_file

LabelArray = NDArray[np.integer]


class UnknownIdsError(InputError):
    """A mask holds ids that its label set does not name; ``found`` are all its ids but 0."""

    def __init__(self, message: str, found: Set[int]) -> None:
        super().__init__(message)
        self.found = found


@dataclass(frozen=True)
class LabelSet:
    """A named table of ids and organs; id 0 is background and not listed."""

    name: str
    organs: Mapping[int, str]

    def __post_init__(self) -> None:
        if len(set(self.organs.values())) != len(self.organs) or any(number < 1 for number in self.organs):
            raise InputError(f"label set {self.name}: ids must be positive and organ names unique, got {self.organs}")

    @property
    def names(self) -> list[str]:
        return list(self.organs.values())

    def id_of(self, organ: str) -> int:
        for number, name in self.organs.items():
            if name == organ:
                return number
        raise InputError(f"label set {self.name}: unknown organ {organ!r}{_suggest(organ, self.names)}")

    def check_ids(self, labels: LabelArray, source: str) -> None:
        """Raise InputError where ``labels`` holds an id that this set does not name."""
        found = set(np.unique(labels).tolist()) - {0}
        unknown = sorted(found - set(self.organs))
        if unknown:
            fitting = fitting_sets(found)
            hint = f", its ids are among those of {' and '.join(fitting)}" if fitting else ", or remap them"
            raise UnknownIdsError(
                f"{source}: label ids {unknown} are not in the set {self.name!r} (ids 0 to {max(self.organs)}); "
                f"name the set the file was made with{hint}",
                found,
            )

    @classmethod
    def of_json(cls, content: Mapping[str, object], source: Path) -> LabelSet:
        """What a ``dataset.json`` says under ``labels``: ids to names as the Decathlon, or names to ids as nnU-Net."""
        table = content["labels"]
        if isinstance(table, dict) and table and not all(str(key).isdigit() for key in table):
            regions = [name for name, number in table.items() if not isinstance(number, int)]
            if regions or "ignore" in table:
                what = ", ".join(regions) or "ignore"
                raise InputError(
                    f"{source}: the labels {what} are regions or are to be ignored, which is not supported"
                )
            table = {number: name for name, number in table.items()}
        if isinstance(table, dict):
            table = {number: name for number, name in table.items() if int(number) != 0}
        return _from_table(str(content.get("name", source.parent.name)), table, source)

    def convert(self, labels: LabelArray, target: LabelSet) -> NDArray[np.uint8]:
        """Ids of this set to those of ``target`` by organ name; organs that ``target`` lacks become background."""
        if max(target.organs, default=0) > 255:
            raise InputError(f"label set {target.name}: ids of at most 255 can be learnt, got {max(target.organs)}")
        ids = {name: number for number, name in target.organs.items()}
        table = np.zeros(max(self.organs, default=0) + 1, dtype=np.uint8)
        for number, name in self.organs.items():
            table[number] = ids.get(name, 0)
        return table[labels]


def list_label_sets() -> list[str]:
    """Names of the shipped label sets."""
    return sorted(path.stem for path in (configs_dir() / "labels").glob("*.yaml"))


def label_set(name_or_path: str) -> LabelSet:
    """A shipped set by name, or a file's: YAML with ``name`` and ``organs``, a mask's ``.labels.json``, a
    ``dataset.json``."""
    path = Path(name_or_path)
    if path.suffix == ".json":
        content = read_json(path)
        if isinstance(content, dict) and "labels" in content:
            return LabelSet.of_json(content, path)
        return _from_table(path.name, content, path)
    shipped = configs_dir() / "labels" / f"{name_or_path}.yaml"
    source = path if path.suffix in (".yaml", ".yml") else shipped
    if not source.is_file():
        known = list_label_sets()
        raise InputError(
            f"unknown label set {name_or_path!r}; there is {', '.join(known)}, or give a YAML file"
            f"{_suggest(name_or_path, known)}"
        )
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{source}: expected a YAML label set, found {error}") from error
    if not isinstance(content, dict) or "organs" not in content:
        raise InputError(f"{source}: expected the keys name and organs")
    return _from_table(str(content.get("name", source.stem)), content["organs"], source)


def fitting_sets(ids: Set[int]) -> list[str]:
    """The shipped label sets that have all these ids."""
    return [name for name in list_label_sets() if ids <= set(label_set(name).organs)]


def beside(mask: Path) -> Path:
    """The label table that lies beside a mask: ``X.nii.gz`` has ``X.labels.json``."""
    return mask.with_name(mask.name.removesuffix(".gz").removesuffix(".nii") + ".labels.json")


def write_mask(path: Path, ids: LabelArray, affine: NDArray[np.float64], labels: LabelSet) -> None:
    """Write a mask as NIfTI and the table of its ids beside it: both or none, and the table first."""
    table = {str(number): name for number, name in labels.organs.items()}
    with whole_file(path) as mask, whole_file(beside(path)) as names:
        mask.write(volume_bytes(path, ids, affine))
        mask.flush()
        os.fsync(mask.fileno())  # a full disk is told before the table takes its place
        names.write(json_bytes(table))


def organ_names(spec: str, known: Sequence[str]) -> list[str]:
    """Organs of a label set, or of a comma-separated list of ``known`` names."""
    if spec in list_label_sets() or Path(spec).suffix in (".yaml", ".yml", ".json"):
        return label_set(spec).names
    names = [name.strip() for name in spec.split(",") if name.strip()]
    for name in names:
        if name not in known:
            there, sets = ", ".join(dict.fromkeys(known)), ", ".join(list_label_sets())
            raise InputError(
                f"unknown organ {name!r}{_suggest(name, known)}; there is {there}; or give a label set ({sets})"
            )
    return names


def _from_table(name: str, table: object, source: Path) -> LabelSet:
    if not isinstance(table, dict):
        raise InputError(f"{source}: expected ids mapped to organ names, found {type(table).__name__}")
    try:
        return LabelSet(name, {int(number): str(organ) for number, organ in table.items()})
    except ValueError as error:
        raise InputError(f"{source}: expected whole-number ids mapped to organ names, found {error}") from error


def _suggest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
