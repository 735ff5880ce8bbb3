"""The root folder or file of a dataset."""

from __future__ import annotations

from pathlib import Path

from medups.data.cases import DataSpec
from medups.errors import InputError
from medups.io.files import user_path


def root_of(data: DataSpec) -> Path:
    """``data.root``, with ``~`` expanded. Raises InputError if it is not set."""
    if not data.root:
        raise InputError("data.root must name the dataset's folder, got nothing")
    return user_path(data.root)
