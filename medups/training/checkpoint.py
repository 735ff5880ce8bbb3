"""Checkpoints: written whole or not at all, read without executing anything."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medups.errors import InputError
from medups.files import whole_file


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values to ``path`` atomically."""
    with whole_file(path) as file:
        torch.save(dict(content), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, onto the CPU. Raises InputError for a file that is damaged."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: expected a checkpoint of tensors, found a damaged or other file ({reason})"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a checkpoint of tensors, found {type(content).__name__}")
    return content
