"""Synthetic CT scans with labels, for trials and tests without patient data."""

from medups.data.phantom.scan import make_phantom, write_phantoms

__all__ = ["make_phantom", "write_phantoms"]
