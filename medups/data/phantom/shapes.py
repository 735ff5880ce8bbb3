"""The building blocks of a phantom: solids of one tissue in millimeters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shape:
    """A tissue: label id, Hounsfield units, and a solid of overlapping ellipsoids.

    Args:
        points: centers of the ellipsoids along a center line [n, 3], mm.
        radii: along x, y and z [n, 3], mm.
        over: labels that the shape may overwrite; by default its own and background.
        grain: variation in HU between lobules a few millimeters wide.
    """

    name: str
    label: int
    hu: float
    points: Floats
    radii: Floats
    over: tuple[int, ...] = ()
    grain: float = 0

    def filled(self, wall: float, hu: float) -> Shape:
        """The content of this shape inside a wall ``wall`` mm thick."""
        return replace(self, hu=hu, radii=np.maximum(self.radii - np.float32(wall), np.float32(1)))


@dataclass(frozen=True)
class ShapeFactory:
    """Creates the shapes of one case, each moved and stretched at random.

    Args:
        ids: label id by organ name; other tissues get 0.
        stature: scale of the whole anatomy.
    """

    rng: Generator
    ids: Mapping[str, int]
    stature: float

    def solid(self, name: str, hu: float, points: Any, radii: Any, jitter: float = 6, scale: float = 0.14) -> Shape:
        """Ellipsoids at ``points``, moved and stretched together."""
        centers = np.atleast_2d(np.asarray(points, dtype=np.float32))
        widths = np.broadcast_to(np.atleast_2d(np.asarray(radii, dtype=np.float32)), centers.shape)
        centers = (centers + self.rng.normal(0, jitter, 3).clip(-2 * jitter, 2 * jitter)) * self.stature
        stretched = widths * self.stature * self.rng.uniform(1 - scale, 1 + scale, 3)
        label, density = self.ids.get(name, 0), hu + self.rng.normal(0, 6)
        return Shape(name, label, density, centers.astype(np.float32), stretched.astype(np.float32))

    def tube(self, name: str, hu: float, knots: Any, radii: Any, jitter: float = 6) -> Shape:
        """Overlapping spheres along a smooth line through ``knots``."""
        line, given = np.asarray(knots, dtype=np.float64), np.atleast_1d(radii)
        at = np.linspace(0, len(line) - 1, 8 * len(line))
        dense = np.stack([np.interp(at, np.arange(len(line)), column) for column in line.T], 1)
        dense = ndimage.gaussian_filter1d(dense, 3, axis=0, mode="nearest")
        widths = np.interp(at, np.linspace(0, len(line) - 1, len(given)), given)
        return self.solid(name, hu, dense, widths[:, None], jitter)
