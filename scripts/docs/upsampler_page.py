"""Write the tables and the picture of docs/upsamplers.md anew.

    python scripts/docs/upsampler_page.py cost                                   # parameters and multiply-adds
    python scripts/docs/upsampler_page.py precision                              # error against float64
    python scripts/docs/upsampler_page.py picture --scan CT.nii.gz --label MASK.nii.gz --label-set totalsegmentator_v1

Each command replaces what stands between its two comments in the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from cost import cost_table
from picture import draw
from precision import precision_table

_DOCS = Path(__file__).parents[2] / "docs"
PAGE = _DOCS / "upsamplers.md"
PICTURE = _DOCS / "pictures" / "upsamplers.png"


def replace_section(page: Path, name: str, lines: Iterator[str]) -> None:
    """Put ``lines`` between ``<!-- name -->`` and ``<!-- /name -->``."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    head, rest = text.split(begin)
    page.write_text(head + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.split(end)[1], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("cost")
    parts.add_parser("precision")
    picture = parts.add_parser("picture")
    picture.add_argument("--scan", type=Path, required=True)
    picture.add_argument("--label", type=Path, required=True)
    picture.add_argument("--label-set", required=True)
    options = parser.parse_args()
    if options.part == "cost":
        replace_section(PAGE, "cost", cost_table())
    elif options.part == "precision":
        replace_section(PAGE, "precision", precision_table())
    else:
        draw(options.scan, options.label, options.label_set, PICTURE)


if __name__ == "__main__":
    main()
