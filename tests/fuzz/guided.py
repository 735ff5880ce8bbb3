"""Changes guided by coverage: python -m tests.fuzz.guided FORMAT [FILE] [options of libFuzzer]

    python -m tests.fuzz.guided nifti -max_total_time=600
    python -m tests.fuzz.guided pictures scene.png -runs=100000

Needs atheris (pip install atheris). It keeps changed files that reach new lines of medups' readers, and changes those
again. Stops at the first exception that is not an InputError, and writes the file beside.
"""  # fmt: skip

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["medups.data", "medups.io", "medups.bundle", "nibabel", "pydicom"]):
    from medups.errors import InputError
    from tests.fuzz.mutations import mutate
    from tests.fuzz.readers import READERS
    from tests.fuzz.seeds import SEEDS


def main() -> None:
    warnings.simplefilter("ignore")
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    if not words or words[0] not in SEEDS:
        sys.exit(f"{__doc__}\nFORMAT is one of {', '.join(SEEDS)}")
    name = words[0]
    with tempfile.TemporaryDirectory() as scratch:
        seeds = Path(scratch) / "seeds"
        seeds.mkdir()
        SEEDS[name](seeds)
        files = sorted(path for path in seeds.rglob("*") if path.is_file())
        chosen = next((path for path in files if path.name == words[-1]), files[0])
        corpus = Path(scratch) / "corpus"
        corpus.mkdir()
        (corpus / chosen.name).write_bytes(chosen.read_bytes())

        def read(content: bytes) -> None:
            chosen.write_bytes(content)
            with contextlib.suppress(InputError):
                READERS[name](chosen)

        def change(content: bytes, largest: int, seed: int) -> bytes:
            rng = np.random.default_rng(seed)
            if rng.random() < 0.5:
                return atheris.Mutate(content, largest)
            chosen.write_bytes(content)
            return (mutate(chosen, rng) or b"")[:largest]

        limits = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=200000"]
        atheris.Setup([sys.argv[0], str(corpus), *limits, *options], read, custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
