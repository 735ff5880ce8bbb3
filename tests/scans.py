"""Scans that tests write."""

from __future__ import annotations

from medups.data.volumes.nifti import nifti_file_bytes
from medups.io.files import write_bytes


def write_nifti(path, data, affine):
    """Write ``data``; compressed if the name ends in .gz."""
    write_bytes(path, nifti_file_bytes(path, data, affine))
