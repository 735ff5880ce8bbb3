"""Volumes, their grids, and the file formats they are read from."""

from medups.data.volumes.grid import ORIENTATION, Grid, on_grid_of, resampled_to, same_grid
from medups.data.volumes.volume import Volume

__all__ = ["ORIENTATION", "Grid", "Volume", "on_grid_of", "resampled_to", "same_grid"]
