"""Cases written out in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medups.data.cases import Case, Listing
from medups.errors import InputError


def listed(config: Mapping[str, Any]) -> Listing:
    """``cases``: each with name, image and label."""
    cases: dict[str, Case] = {}
    problems: list[str] = []
    for entry in config["cases"]:
        missing = {"name", "image", "label"} - set(entry)
        if missing:
            raise InputError(
                f"data.cases: each case needs name, image and label; {dict(entry)} lacks {sorted(missing)}"
            )
        case = Case(str(entry["name"]), Path(str(entry["image"])), Path(str(entry["label"])))
        problems += case.missing_files(f"data.cases: {case.name}")
        cases[case.name] = case
    return Listing(cases, problems=problems)
