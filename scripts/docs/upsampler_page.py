"""Rebuild the tables and the picture of docs/upsamplers.md.

    python scripts/docs/upsampler_page.py cost                                   # parameters and multiply-adds
    python scripts/docs/upsampler_page.py precision                              # error against float64
    python scripts/docs/upsampler_page.py picture --scan CT.nii.gz --label MASK.nii.gz --label-set totalsegmentator_v1

`cost` and `precision` replace their table in the page; `picture` replaces the image file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cost import cost_table
from page import DOCS, replace_section
from picture import draw
from precision import precision_table

PAGE = DOCS / "upsamplers.md"
PICTURE = DOCS / "pictures" / "upsamplers.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = parser.add_subparsers(dest="section", required=True)
    sections.add_parser("cost")
    sections.add_parser("precision")
    picture = sections.add_parser("picture")
    picture.add_argument("--scan", type=Path, required=True)
    picture.add_argument("--label", type=Path, required=True)
    picture.add_argument("--label-set", required=True)
    options = parser.parse_args()
    if options.section == "cost":
        replace_section(PAGE, "cost", cost_table())
    elif options.section == "precision":
        replace_section(PAGE, "precision", precision_table())
    else:
        draw(options.scan, options.label, options.label_set, PICTURE)


if __name__ == "__main__":
    main()
