"""Check that a resumed run keeps its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medups.errors import InputError
from medups.io.checkpoints import LAST, PREVIOUS, first_intact


def progress_of(folder: Path, identity: Mapping[str, Any]) -> tuple[int, bool]:
    """Completed steps of the run whose checkpoints are in ``folder``, and whether it is complete.

    Raises:
        InputError: the run there differs from ``identity``, or all of its checkpoints are damaged.
    """
    state, _ = first_intact(folder, LAST, PREVIOUS)
    if state is None:
        return 0, False
    changes = sorted(differences(state.get("identity", {}), identity))
    if changes:
        raise InputError(
            f"{folder}: contains a run with another configuration ({', '.join(changes)}); "
            "choose another output, or use the same configuration to resume"
        )
    return int(state["step"]), bool(state["finished"])


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """One sentence for each value that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new and path.startswith("cases.") and isinstance(old, list) and isinstance(new, list):
        removed = [name for name in old if name not in new]
        added = [name for name in new if name not in old]
        changes = [f"{verb} {', '.join(names)}" for verb, names in (("removed", removed), ("added", added)) if names]
        yield f"{path}: {' and '.join(changes) or 'the same cases in another order'}"
    elif old != new:
        yield f"{path}: was {old}, now {new}"
