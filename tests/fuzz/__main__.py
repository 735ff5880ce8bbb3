"""The campaign: python -m tests.fuzz --tries 10000 [--formats nifti dicom] [--first 0] [--keep FOLDER]

Prints a table, and every file that was neither read nor refused; ``--keep`` stores those files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.campaign import Outcome, changed, run
from tests.fuzz.seeds import SEEDS


def main() -> int:
    """Returns 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000, help="of each format")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--formats", nargs="+", choices=tuple(SEEDS), default=list(SEEDS))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    wrong: list[Outcome] = []
    print("format         tries    read refused   wrong  seconds")
    for name in options.formats:
        began, kinds = time.perf_counter(), Counter[str]()
        for outcome in run(name, options.first, options.first + options.tries):
            kinds["wrong" if outcome.wrong else outcome.kind] += 1
            if outcome.wrong:
                wrong.append(outcome)
                print(f"  {outcome.format} {outcome.number}: {outcome.kind}: {outcome.detail}", flush=True)
        counts = "".join(f"{kinds[kind]:8}" for kind in ("read", "refused", "wrong"))
        print(f"{name:12}{options.tries:8}{counts}{time.perf_counter() - began:9.0f}", flush=True)
    if options.keep is not None:
        _keep(options.keep, wrong)
    return 1 if wrong else 0


def _keep(folder: Path, wrong: list[Outcome]) -> None:
    for outcome in wrong:
        with tempfile.TemporaryDirectory() as scratch:
            seeds = Path(scratch) / "seeds"
            seeds.mkdir()
            SEEDS[outcome.format](seeds)
            files = sorted(path for path in seeds.rglob("*") if path.is_file())
            changed(outcome.format, outcome.number, seeds, files, folder / f"{outcome.format}-{outcome.number}")


if __name__ == "__main__":
    sys.exit(main())
