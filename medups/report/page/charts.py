"""How a measure is distributed over the cases, by organ, as an SVG picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from matplotlib.ticker import MaxNLocator

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 720, 26, 120, 20, 24


def distribution_svg(values: Mapping[str, Sequence[tuple[str, float]]], title: str, top: float | None = None) -> str:
    """One row per organ: a dot for each case, the quartiles as a box, the median as a line.

    Args:
        values: case names and values by organ.
        title: of the measure, with its unit.
        top: the end of the axis; by default the largest value.
    """
    end = top if top is not None else max((value for row in values.values() for _, value in row), default=1.0) or 1.0
    height = _TOP + _ROW * len(values) + 24
    scale = (_WIDTH - _LEFT - _RIGHT) / end
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)} of every case, by organ">',
        f'<text x="{_LEFT}" y="14" class="title">{escape(title)}</text>',
    ]
    for tick in MaxNLocator(5).tick_values(0, end):
        if not 0 <= tick <= end:
            continue
        x = _LEFT + tick * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - 24}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" class="tick">{tick:.3g}</text>')
    for index, (organ, row) in enumerate(values.items()):
        middle = _TOP + _ROW * (index + 0.5)
        parts.append(f'<text x="{_LEFT - 8}" y="{middle + 4:.1f}" class="name">{escape(organ)}</text>')
        if row:
            parts += _box([value for _, value in row], middle, scale)
        for case, value in row:
            label = escape(f"{case}: {value:.4g}")
            parts.append(
                f'<circle cx="{_LEFT + value * scale:.1f}" cy="{middle:.1f}" r="3.5" class="dot" '
                f'data-case="{escape(case)}"><title>{label}</title></circle>'
            )
    return "".join([*parts, "</svg>"])


def _box(values: Sequence[float], middle: float, scale: float) -> list[str]:
    low, median, high = (_LEFT + float(value) * scale for value in np.percentile(values, (25, 50, 75)))
    return [
        f'<rect x="{low:.1f}" y="{middle - 8:.1f}" width="{max(high - low, 1):.1f}" height="16" class="box"/>',
        f'<line x1="{median:.1f}" x2="{median:.1f}" y1="{middle - 8:.1f}" y2="{middle + 8:.1f}" class="median"/>',
    ]
