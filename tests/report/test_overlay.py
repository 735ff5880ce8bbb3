"""Overlays: each contour has the color of its organ."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgba

from medups.report.overlay import draw


def test_contour_colors_match_the_legend_for_any_ids():
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 3:6, 3:6] = 2
    mask[0, 10:18, 10:18] = 1
    image = np.zeros(mask.shape, np.float32)
    figure = draw(image, {"label": mask}, {2: "liver", 1: "spleen", 7: "aorta"}, (1.0, 1.0, 1.0), "case")
    legend = {
        text.get_text(): to_rgba(line.get_color())
        for text, line in zip(figure.legends[0].get_texts(), figure.legends[0].get_lines(), strict=True)
    }
    assert set(legend) == {"liver", "spleen"}
    drawn = {
        tuple(contour.get_edgecolor()[0]): contour.get_paths()[0].get_extents().x0.round(1)
        for contour in figure.axes[0].collections
    }
    assert drawn == {legend["liver"]: 2.5, legend["spleen"]: 9.5}
