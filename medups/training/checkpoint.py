"""Checkpoints: written whole or not at all, the one before kept, read without executing anything."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medups.errors import InputError
from medups.files import check_archive, whole_file

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; what was there before is kept."""


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values to ``path`` atomically. Raises CheckpointError where the disk refuses."""
    try:
        with whole_file(path) as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:
        refused = _refusal(error)
        if refused is None:
            raise
        raise CheckpointError(
            f"{path}: cannot be written ({refused.strerror or refused}); the one before is kept, mend that and go on"
        ) from error


def _refusal(error: BaseException | None) -> OSError | None:
    """What the disk said: torch raises an error of its own while it closes a file that it could not write."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def keep_last(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``last.pt``; what was there becomes ``previous.pt``."""
    last, new = folder / LAST, folder / "next.pt"
    save_checkpoint(new, content)
    if last.exists():
        os.replace(last, folder / PREVIOUS)
    os.replace(new, last)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, onto the CPU. Raises InputError for a file that is damaged."""
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: expected a checkpoint of tensors, found a damaged or other file ({reason})"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a checkpoint of tensors, found {type(content).__name__}")
    return content


def first_good(folder: Path, *names: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The first of these checkpoints that is there and whole, None where none is there; and what was skipped.

    Raises:
        InputError: there are some, and all are damaged.
    """
    complaints: list[str] = []
    for name in names:
        if (folder / name).is_file():
            try:
                return load_checkpoint(folder / name), complaints
            except InputError as error:
                complaints.append(f"{error}; it is skipped")
    if complaints:
        raise InputError(f"{'; '.join(complaints)}; no other is left: choose another output, or remove {folder}")
    return None, []
