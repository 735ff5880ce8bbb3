"""Write the tables and the picture of docs/upsamplers.md anew.

    python scripts/docs/upsampler_page.py cost                                   # parameters and multiply-adds
    python scripts/docs/upsampler_page.py precision                              # error against float64
    python scripts/docs/upsampler_page.py picture --scan CT.nii.gz --label MASK.nii.gz --label-set totalsegmentator_v1

`cost` and `precision` replace their table in the page, `picture` the file that it shows.
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
