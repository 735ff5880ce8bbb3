"""Rebuild the tables of docs/studies.md from the results of scripts/studies.

for study in scripts/studies/[!s]*.py scripts/studies/similarity.py; do python "$study"; done
python scripts/docs/studies_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from page import DOCS, replace_section


def table(path: Path) -> Iterator[str]:
    """One row per variant: the mean and the standard deviation over seeds of every measure."""
    results = json.loads(path.read_text(encoding="utf-8"))
    measures = list(next(iter(results.values())))
    yield f"| | {' | '.join(measures)} |"
    yield "|---|" + "--:|" * len(measures)
    for variant, values in results.items():
        cells = [f"{np.mean(values[name]):.3f} ± {np.std(values[name], ddof=1):.3f}" for name in measures]
        yield f"| {variant} | {' | '.join(cells)} |"


def main() -> None:
    for path in sorted((DOCS / "studies").glob("*.json")):
        replace_section(DOCS / "studies.md", path.stem, table(path))
        print(path.stem)


if __name__ == "__main__":
    main()
