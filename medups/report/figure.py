"""Matplotlib figures as files."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


def png_bytes(figure: Figure) -> bytes:
    """The content of a PNG file for a screen."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return buffer.getvalue()
