"""Checkpoints: written atomically, with the previous one kept, and read without executing code."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medups.errors import InputError
from medups.io.files import atomic_file, check_archive

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError, MemoryError,
    ArithmeticError, ImportError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What torch and numpy raise for damaged archives and pickles."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; the previous one is intact."""


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values to ``path`` atomically. Raises CheckpointError if writing fails."""
    try:
        with atomic_file(path) as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:
        disk_error = _disk_error(error)
        if disk_error is None:
            raise
        raise CheckpointError(
            f"{path}: cannot be written ({disk_error.strerror or disk_error}); the previous checkpoint is intact; "
            "fix this and resume"
        ) from error


def _disk_error(error: BaseException | None) -> OSError | None:
    """The operating system's error, behind the one that torch raises when it closes a file that it could not write."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def keep_last(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``last.pt``; the old one becomes ``previous.pt``."""
    last, new = folder / LAST, folder / "next.pt"
    save_checkpoint(new, content)
    if last.exists():
        os.replace(last, folder / PREVIOUS)
    os.replace(new, last)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of :func:`save_checkpoint` onto the CPU. Raises InputError for a damaged file."""
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: expected a checkpoint of tensors, found a damaged file or another kind ({reason})"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a checkpoint of tensors, found {type(content).__name__}")
    return content


def not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that contain NaN or infinity."""
    return [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]


def first_intact(folder: Path, *names: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The first of these checkpoints that exists and is intact, or None; and a message for each skipped one.

    Raises:
        InputError: checkpoints exist, and all are damaged.
    """
    skipped: list[str] = []
    for name in names:
        if (folder / name).is_file():
            try:
                return load_checkpoint(folder / name), skipped
            except InputError as error:
                skipped.append(f"{error}; skipped")
    if skipped:
        raise InputError(
            f"{'; '.join(skipped)}; no intact checkpoint is left: choose another output, or remove {folder}"
        )
    return None, []
