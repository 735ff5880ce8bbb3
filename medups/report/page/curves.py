"""Lines over training steps, and points of cost against quality, as SVG pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from matplotlib.ticker import MaxNLocator

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 360, 56, 16, 28, 44
Points = Sequence[tuple[float, float]]


def curves_svg(
    series: Sequence[tuple[str, str, Points]], title: str, across: str, lines: bool = True, zero: bool = False
) -> str:
    """Draw each series as a line, or as points.

    Args:
        series: name, color and points (x, y).
        title: of the picture, what y is.
        across: what x is.
        lines: join the points of a series.
        zero: begin the vertical axis at 0.
    """
    points = [point for _, _, own in series for point in own]
    if not points:
        return ""
    horizontal = _Axis([x for x, _ in points] + [0.0], _LEFT, _WIDTH - _RIGHT)
    vertical = _Axis([y for _, y in points] + ([0.0] if zero else []), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)} against {escape(across)}">',
        f'<text x="{_LEFT}" y="14" class="title">{escape(title)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" class="name">{escape(across)}</text>',
    ]
    for tick in horizontal.ticks:
        at = horizontal.place(tick)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" class="grid"/>')
        parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 16}" class="tick">{tick:g}</text>')
    for tick in vertical.ticks:
        at = vertical.place(tick)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" class="name">{tick:g}</text>')
    for name, color, own in series:
        places = [(horizontal.place(x), vertical.place(y)) for x, y in own]
        if lines and len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(
                f'<polyline points="{path}" stroke="{color}" class="curve"><title>{escape(name)}</title></polyline>'
            )
        else:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}"><title>{escape(name)}</title></circle>'
                for x, y in places
            ]
    return "".join([*parts, "</svg>"])


def legend(colors: Mapping[str, str]) -> str:
    """The names of the colors."""
    items = [f'<li style="border-color: {color}">{escape(name)}</li>' for name, color in colors.items()]
    return f'<ul class="legend">{"".join(items)}</ul>\n'


class _Axis:
    """A linear scale with round ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        if low == high:
            low, high = low - 0.5, high + 0.5
        self.low, self.high, self._start, self._end = low, high, start, end
        self.ticks = [float(tick) for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]

    def place(self, value: float) -> float:
        """The pixel of a value."""
        return self._start + (value - self.low) / (self.high - self.low) * (self._end - self._start)
