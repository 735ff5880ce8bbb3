"""Label sets: tables of ids and organs. Data, predictions and evaluation are matched by organ name, never by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from medups.errors import InputError
from medups.io.files import read_json, user_path
from medups.io.shipped import configs_dir

LabelArray = NDArray[np.integer]
MASK_DTYPE = np.uint8
"""Data type of ids in predicted masks, caches and samples."""
MAX_ID = 255


class UnknownIdsError(InputError):
    """A mask contains ids that its label set lacks; ``ids`` are all ids of the mask except 0."""

    def __init__(self, message: str, ids: Set[int]) -> None:
        super().__init__(message)
        self.ids = ids


@dataclass(frozen=True)
class LabelSet:
    """A named table of ids and organs, or other classes; id 0 is background and not listed.

    Args:
        ignore: ids of pixels without a class, which are neither trained on nor scored; if 0 is among them, there is no
            background class.
        stuff: ids of classes without objects, such as the sky, for panoptic segmentation.
    """

    name: str
    organs: Mapping[int, str]
    ignore: frozenset[int] = frozenset()
    stuff: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if both := sorted(self.ignore & set(self.organs)):
            raise InputError(f"label set {self.name}: ids {both} are both named and ignored")
        if unknown := sorted(self.stuff - set(self.organs)):
            raise InputError(f"label set {self.name}: ids {unknown} are listed as stuff and have no name")
        if len(set(self.organs.values())) != len(self.organs) or any(number < 1 for number in self.organs):
            raise InputError(f"label set {self.name}: ids must be positive and organ names unique, got {self.organs}")

    @property
    def names(self) -> list[str]:
        return list(self.organs.values())

    @property
    def channels(self) -> dict[int, str]:
        """Ids and names in the order of a network's channels: the background first, unless 0 is ignored."""
        return {**({} if 0 in self.ignore else {0: "background"}), **self.organs}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        lists = {"ignore": sorted(self.ignore), "stuff": sorted(self.stuff)}
        organs = {str(number): name for number, name in self.organs.items()}
        return {"name": self.name, "organs": organs, **{key: ids for key, ids in lists.items() if ids}}

    @property
    def things(self) -> list[int]:
        """Ids of the classes whose objects are counted one by one, in the order that networks number them."""
        return [number for number in self.organs if number not in self.stuff]

    @property
    def stuff_ids(self) -> list[int]:
        """Ids of the classes without objects, in the order that networks number them."""
        return [number for number in self.organs if number in self.stuff]

    def id_of(self, organ: str) -> int:
        for number, name in self.organs.items():
            if name == organ:
                return number
        raise InputError(f"label set {self.name}: unknown organ {organ!r}{_suggest(organ, self.names)}")

    def check_ids(self, labels: LabelArray, source: str) -> None:
        """Raise InputError if ``labels`` contains an id that is not in this set."""
        ids = set(np.unique(labels).tolist()) - {0} - self.ignore
        unknown = sorted(ids - set(self.organs))
        if unknown:
            fitting = fitting_sets(ids)
            hint = f"; {' and '.join(fitting)} name all of its ids" if fitting else ", or remap the ids"
            raise UnknownIdsError(
                f"{source}: label ids {unknown} are not in the set {self.name!r} (ids 0 to {max(self.organs)}); "
                f"choose the label set that the file was made with{hint}",
                ids,
            )

    @classmethod
    def of_json(cls, content: Mapping[str, object], source: Path) -> LabelSet:
        """The ``labels`` of a ``dataset.json``: ids to names as in the Decathlon, or names to ids as in nnU-Net.

        Raises:
            InputError: regions or an ignore label, which are not supported, or ids that are not whole numbers.
        """
        table = content["labels"]
        if isinstance(table, dict) and table and not all(str(key).isdigit() for key in table):
            regions = [name for name, number in table.items() if not str(number).isdigit()]
            if regions or "ignore" in table:
                names = ", ".join(regions) or "ignore"
                raise InputError(
                    f"{source}: expected one whole-number id per label; {names} are regions, text values or "
                    "ignore labels, which are not supported"
                )
            table = {number: name for name, number in table.items()}
        if isinstance(table, dict):
            table = {number: name for number, name in table.items() if int(number) != 0}
        return _from_table(str(content.get("name", source.parent.name)), table, source)

    def convert(self, labels: LabelArray, target: LabelSet) -> NDArray[np.uint8]:
        """Convert ids of this set to those of ``target`` by organ name; organs missing there become background.

        Raises:
            InputError: ``target`` has ids that cannot be learned, or this set ignores ids.
        """
        if self.ignore:
            raise InputError(
                f"label set {self.name}: ids to ignore are supported for pictures only, got {[*self.ignore]}"
            )
        if max(target.organs, default=0) > MAX_ID:
            raise InputError(f"label set {target.name}: ids up to {MAX_ID} can be learned, got {max(target.organs)}")
        ids = {name: number for number, name in target.organs.items()}
        table = np.zeros(max(self.organs, default=0) + 1, dtype=MASK_DTYPE)
        for number, name in self.organs.items():
            table[number] = ids.get(name, 0)
        return table[labels]


def list_label_sets() -> list[str]:
    """The names of the shipped label sets of scans."""
    return sorted(path.stem for path in (configs_dir() / "labels").glob("*.yaml"))


def list_class_sets() -> list[str]:
    """The names of the shipped label sets of pictures."""
    return sorted(path.stem for path in (configs_dir() / "classes").glob("*.yaml"))


def label_set(name_or_path: str) -> LabelSet:
    """A shipped label set by name, or one from a file.

    Args:
        name_or_path: a name of :func:`list_label_sets` or :func:`list_class_sets`; a YAML file with ``name``,
            ``organs`` or ``classes``, ``ignore`` and ``stuff``; a mask's ``.labels.json``; a ``classes.json``; or a
            ``dataset.json``.

    Raises:
        InputError: an unknown name, or a file without a label set.
    """
    path = user_path(name_or_path)
    if path.suffix == ".json":
        content = read_json(path)
        if isinstance(content, dict) and "labels" in content:
            return LabelSet.of_json(content, path)
        if isinstance(content, dict) and "organs" in content:
            return _from_content(content, path)
        return _from_table(path.name, content, path)
    shipped = configs_dir() / ("classes" if name_or_path in list_class_sets() else "labels") / f"{name_or_path}.yaml"
    source = path if path.suffix in (".yaml", ".yml") else shipped
    if not source.is_file():
        known = [*list_label_sets(), *list_class_sets()]
        raise InputError(
            f"unknown label set {name_or_path!r}; known sets are {', '.join(known)}; a YAML file works too"
            f"{_suggest(name_or_path, known)}"
        )
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{source}: expected a YAML label set, found {error}") from error
    return _from_content(content, source)


def fitting_sets(ids: Set[int]) -> list[str]:
    """The shipped label sets that contain all of these ids."""
    return [name for name in list_label_sets() if ids <= set(label_set(name).organs)]


def organ_names(spec: str, known: Sequence[str]) -> list[str]:
    """The organs of a label set, or of a comma-separated list of ``known`` names."""
    if spec in list_label_sets() or Path(spec).suffix in (".yaml", ".yml", ".json"):
        return label_set(spec).names
    names = [name.strip() for name in spec.split(",") if name.strip()]
    for name in names:
        if name not in known:
            organs, sets = ", ".join(dict.fromkeys(known)), ", ".join(list_label_sets())
            raise InputError(
                f"unknown organ {name!r}{_suggest(name, known)}; known organs are {organs}; label sets are {sets}"
            )
    return names


def _from_content(content: Any, source: Path) -> LabelSet:
    table = content.get("organs", content.get("classes")) if isinstance(content, dict) else None
    if table is None:
        raise InputError(f"{source}: expected the keys name, and organs or classes")
    lists = [content.get(key, []) for key in ("ignore", "stuff")]
    for key, ids in zip(("ignore", "stuff"), lists, strict=True):
        if not isinstance(ids, list) or not all(isinstance(number, int) for number in ids):
            raise InputError(f"{source}: {key} must be a list of ids, found {ids!r}")
    return _from_table(str(content.get("name", source.stem)), table, source, *map(frozenset, lists))


def _from_table(
    name: str,
    table: object,
    source: Path,
    ignore: frozenset[int] = frozenset(),
    stuff: frozenset[int] = frozenset(),
) -> LabelSet:
    if not isinstance(table, dict):
        raise InputError(f"{source}: expected ids mapped to organ names, found {type(table).__name__}")
    try:
        return LabelSet(name, {int(number): str(organ) for number, organ in table.items()}, ignore, stuff)
    except ValueError as error:
        raise InputError(f"{source}: expected whole-number ids mapped to organ names, found {error}") from error


def _suggest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
