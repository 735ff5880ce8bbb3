"""The files that a case is read from."""

from __future__ import annotations

from pathlib import Path

from medups.data.volumes.itk import is_itk
from medups.data.volumes.itk_headers import voxels_beside


def files_of(path: Path) -> list[Path]:
    """The files behind a case's path: those of a folder or pattern, or itself and the file of its voxels."""
    if "*" in path.name:
        return sorted(path.parent.glob(path.name))
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    if path.suffix in (".hdr", ".img"):
        return [path.with_suffix(".hdr"), path.with_suffix(".img")]
    voxels = voxels_beside(path) if is_itk(path) else None
    return [path] if voxels is None else [path, voxels]
