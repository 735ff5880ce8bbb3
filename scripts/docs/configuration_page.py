"""Write the tables of docs/configuration.md: the files of configs and every setting of the schema.

python scripts/docs/configuration_page.py
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from page import DOCS, replace_section

from medups.io.shipped import configs_dir
from medups.settings.listing import setting_tables

_GROUPS = ("data", "network", "upsampler", "training", "experiment")


def choice_table() -> Iterator[str]:
    """One row per file of a group, with the comment at its top."""
    yield "| choice | meaning |"
    yield "|---|---|"
    for group in _GROUPS:
        for file in sorted((configs_dir() / group).glob("*.yaml")):
            if file.stem == "base":
                continue
            lines = file.read_text(encoding="utf-8").splitlines()
            comment = takewhile(lambda line: line.startswith("#"), lines)
            words = " ".join(line.lstrip("# ") for line in comment if "@package" not in line)
            yield f"| `{group}={file.stem}` | {words.replace('|', '/')} |"


def main() -> None:
    """Replace both sections of the page."""
    replace_section(DOCS / "configuration.md", "choices", choice_table())
    replace_section(DOCS / "configuration.md", "settings", setting_tables())


if __name__ == "__main__":
    main()
