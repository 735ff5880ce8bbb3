"""Evaluations side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medups.errors import InputError
from medups.io.files import read_json, user_path


def compare(folders: Sequence[str | Path]) -> dict[str, dict[str, Any]]:
    """Return the summaries of evaluation folders by folder name, after checking that they are comparable.

    Raises:
        InputError: a missing summary.json, two folders with the same name, or different protocols, cases or organs.
    """
    if not folders:
        raise InputError("compare: no folders were given")
    paths = [user_path(folder).resolve() for folder in folders]
    summaries: dict[str, dict[str, Any]] = {path.name: _read(path / "summary.json") for path in paths}
    if len(summaries) != len(paths):
        raise InputError("compare: two folders have the same name, but rows are identified by name; rename one")
    first = next(iter(summaries.values()))
    for name, summary in summaries.items():
        for key, value, reference in (
            ("protocol", summary["protocol"], first["protocol"]),
            ("list of cases", summary.get("cases"), first.get("cases")),
            ("organs", list(summary["organs"]), list(first["organs"])),
        ):
            if value != reference:
                raise InputError(f"{name}: the {key} differs ({value} vs. {reference}); evaluate both the same way")
    return summaries


def _read(path: Path) -> dict[str, Any]:
    summary = read_json(path)
    if not isinstance(summary, dict) or not {"protocol", "organs", "mean"} <= set(summary):
        raise InputError(f"{path}: expected the summary of an evaluation, found other content")
    return summary
