"""Atomic file writing, and other functions for files."""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from medups.errors import InputError
from medups.io.locks import lock

LARGEST_RATIO = 1100
"""Bytes that one compressed byte may stand for; deflate does not reach it, so a file that promises more is damaged."""
_SMALL, _WEIGHTS_RATIO = 2**24, 100  # bytes, and bytes per packed byte, of an archive of weights
_ABANDONED_AFTER = 3600.0  # seconds; a running process writes more often than this


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` only after all content is flushed to disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, f".{path.name}.", ".part")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            lock(handle)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~UMASK)
        os.replace(name, path)
    except BaseException:  # interruptions too: the partial file is removed and the error is raised again
        Path(name).unlink(missing_ok=True)
        raise


def remove_abandoned(folder: Path, prefix: str, suffix: str = "") -> None:
    """Remove temporary files and folders (:mod:`tempfile` names) that killed processes left an hour or more ago.

    Newer entries may belong to a process that is still writing, so they are kept; and so are files that
    :func:`atomic_file` still holds, because clocks jump.
    """
    for leftover in folder.glob(f"{glob.escape(prefix)}????????{glob.escape(suffix)}"):
        with suppress(OSError):  # another process may have removed it first
            if time.time() - leftover.stat().st_mtime < _ABANDONED_AFTER:
                continue
            if leftover.is_dir():
                shutil.rmtree(leftover)
                continue
            with leftover.open("r+b") as file:  # locks on network file systems need a file open for writing
                if lock(file.fileno()):
                    leftover.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that appears completely or not at all; see :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write UTF-8 text; see :func:`write_bytes`."""
    write_bytes(path, content.encode())


def write_csv(path: str | os.PathLike[str], rows: Iterable[Sequence[object]]) -> None:
    """Write ``rows``, the header first, as comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write indented JSON; see :func:`write_bytes`. Raises ValueError for NaN and infinity."""
    write_bytes(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Indented JSON as a file holds it. Raises ValueError for NaN and infinity."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def read_json(path: str | os.PathLike[str]) -> Any:
    """Parse a JSON file, with or without a byte-order mark. Raises InputError if it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a readable JSON file, found {error}") from error


def gzip_bytes(content: bytes) -> bytes:
    """Compress reproducibly, without name and time in the header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=4, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def file_sha256(path: str | os.PathLike[str]) -> bytes:
    """The digest of a file's content. Raises OSError if it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


FileStates = list[tuple[int, int]]


def file_states(files: Iterable[Path]) -> FileStates:
    """Size and time of the last change of each file, to compare with later; -1 for a file that is missing."""
    states = []
    for file in files:
        try:
            entry = file.stat()
            states.append((entry.st_size, entry.st_mtime_ns))
        except OSError:
            states.append((-1, -1))
    return states


def require_unchanged(files: Sequence[Path], before: FileStates) -> None:
    """Raise InputError if a file is not as it was, because what was read of it may be part old and part new."""
    for file, old, new in zip(files, before, file_states(files), strict=True):
        if old != new:
            raise InputError(f"{file}: changed while it was read; repeat the command when it is complete")


def check_archive(path: str | os.PathLike[str]) -> None:
    """Raise zipfile.BadZipFile if a member of a zip archive, such as a torch checkpoint, fails its checksum, or if the
    archive is a bomb.

    torch reads a damaged member silently. Files that are not zip archives pass.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > _SMALL + _WEIGHTS_RATIO * Path(path).stat().st_size:
                raise zipfile.BadZipFile(f"{unpacked} bytes unpacked, far more than weights compress to")
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"member {damaged} fails its checksum")


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless files can be created in folder ``path``, which may not exist yet. Leaves no files."""
    folder = Path(path)
    try:
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(f"{path}: cannot write there because {folder} is a file; choose a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); choose another output") from error


def user_path(path: str | os.PathLike[str]) -> Path:
    """``path`` with a leading ``~`` expanded to the home folder, as a shell would."""
    return Path(path).expanduser()


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


UMASK = _read_umask()
"""The permission bits that this process removes from new files; read once, because reading sets it for all threads."""
