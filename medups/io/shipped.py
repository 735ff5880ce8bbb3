"""The configuration files that ship with the package."""

from __future__ import annotations

from pathlib import Path


def configs_dir() -> Path:
    """The folder of configuration files: inside an installed wheel, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
