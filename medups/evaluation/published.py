"""Numbers from papers, to be shown beside one's own."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from medups.errors import InputError
from medups.io.shipped import configs_dir


@dataclass(frozen=True)
class PublishedRow:
    """A model's means over organs and cases, as its paper states them."""

    name: str
    dice: float
    hd95: float
    source: str


@dataclass(frozen=True)
class Published:
    """A table of rows by one protocol.

    Args:
        note: what they have in common, and what makes them differ from other runs.
    """

    protocol: str
    note: str
    rows: list[PublishedRow]


def published(name: str, protocol: str) -> Published:
    """The table ``name``, for a comparison by ``protocol``.

    Raises:
        InputError: an unknown table, or one by another protocol.
    """
    folder = configs_dir() / "published"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise InputError(f"--published {name}: unknown table; choose from {', '.join(known)}")
    content = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    if content["protocol"] != protocol:
        raise InputError(
            f"--published {name}: its numbers are by the protocol {content['protocol']}, yours by {protocol}; evaluate "
            f"with --protocol {content['protocol']}"
        )
    return Published(content["protocol"], content["note"], [PublishedRow(**row) for row in content["rows"]])
