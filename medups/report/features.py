"""A picture of features before and after each upsampling step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.figure import Figure

from medups.report.figure import png_bytes

_BEFORE, _AFTER = "tab:gray", "tab:blue"


class Step(Protocol):
    """What the picture shows of a layer."""

    @property
    def layer(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def similarity(self) -> tuple[float, float]: ...
    @property
    def margin(self) -> tuple[float, float]: ...
    @property
    def frequency(self) -> tuple[list[float], list[float]]: ...
    @property
    def spectrum(self) -> tuple[list[float], list[float]]: ...


def features_png(steps: Sequence[Step]) -> bytes:
    """A PNG file: one row per step, with the similarities on the left and the spectra on the right."""
    figure = Figure(figsize=(10, 2.6 * len(steps) + 0.4), layout="constrained")
    grid: Any = figure.subplots(len(steps), 2, squeeze=False)
    for (bars, curves), step in zip(grid, steps, strict=True):
        for offset, index, color, name in ((-0.2, 0, _BEFORE, "before"), (0.2, 1, _AFTER, "after")):
            values = [step.similarity[index], step.margin[index]]
            drawn = bars.bar(np.arange(2) + offset, values, 0.38, color=color, label=name)
            bars.bar_label(drawn, fmt="%.2f", fontsize=8)
            density = np.divide(step.spectrum[index], step.frequency[index][0])  # the rings are as wide as the first
            curves.semilogy(step.frequency[index], density, color=color, label=name)
        bars.set_xticks([0, 1], ["similarity within classes", "margin to other classes"], fontsize=8)
        bars.set_title(f"{step.layer} ({step.kind})", fontsize=9)
        bars.margins(y=0.2)
        curves.set_xlabel("cycles per output pixel", fontsize=8)
        curves.set_ylabel("density of variance", fontsize=8)
        curves.legend(fontsize=8)
    return png_bytes(figure)
