"""Published checkpoints into our modules, one file a layout."""

from medups.weights.load import LoadReport, load_published

__all__ = ["LoadReport", "load_published"]
