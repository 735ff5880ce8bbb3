"""Zip archives of scans."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from medups.errors import InputError
from medups.io.files import LARGEST_RATIO

_LARGEST = 64 * 2**30  # bytes; an archive that promises more is an attack or a mistake


def is_archive(path: Path) -> bool:
    """Whether the name is that of a zip archive."""
    return path.suffix.lower() == ".zip"


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive into ``folder``, which is created, and return it.

    Raises:
        InputError: not an archive, damaged, encrypted, larger than the free space, or a member that is a link or whose
            path leaves the folder.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            folder.mkdir(parents=True)
            _check(archive, members, folder)
            for member in members:
                content.extract(member, folder)
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        LookupError,
        ValueError,
    ) as error:
        raise InputError(f"{archive}: the archive is damaged, encrypted or not a zip file ({error})") from error
    except OSError as error:
        raise InputError(f"{archive}: cannot be unpacked ({error.strerror or error})") from error
    return folder


def _check(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    for member in members:
        inside = (folder / member.filename).resolve()
        if not inside.is_relative_to(folder.resolve()):
            raise InputError(f"{archive}: the member {member.filename} would be written outside the folder")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{archive}: the member {member.filename} is a link; pack the files themselves")
    size, packed = sum(member.file_size for member in members), sum(member.compress_size for member in members)
    free = shutil.disk_usage(folder).free
    if size > min(_LARGEST, free) or size > LARGEST_RATIO * max(packed, 1):
        raise InputError(
            f"{archive}: {size / 2**30:.1f} GiB unpacked, {free / 2**30:.1f} GiB free for temporary files; unpack it"
        )
