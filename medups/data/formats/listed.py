"""Cases listed in the settings."""

from __future__ import annotations

from medups.data.cases import Case, DataSpec, Listing
from medups.errors import InputError
from medups.io.files import user_path


def listed(data: DataSpec) -> Listing:
    """The cases of ``data.cases``, each with name, image and label."""
    cases: dict[str, Case] = {}
    problems: list[str] = []
    for entry in data.cases:
        missing = {"name", "image", "label"} - set(entry)
        if missing:
            raise InputError(
                f"data.cases: each case needs name, image and label; {dict(entry)} lacks {sorted(missing)}"
            )
        case = Case(str(entry["name"]), user_path(str(entry["image"])), user_path(str(entry["label"])))
        if case.name in cases:
            raise InputError(f"data.cases: two cases are named {case.name}; give them different names")
        problems += case.missing_files(f"data.cases: {case.name}")
        cases[case.name] = case
    return Listing(cases, problems=problems)
