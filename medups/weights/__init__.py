"""Loading of published checkpoints into this library's modules; one file per layout."""

from medups.weights.load import LoadReport, load_published

__all__ = ["LoadReport", "load_published"]
