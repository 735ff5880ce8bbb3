"""Files that appear whole or not at all, and finding the shipped configuration."""

from __future__ import annotations

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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from medups.errors import InputError

_ABANDONED_AFTER = 3600.0  # seconds: nothing here is at work that long without writing


def configs_dir() -> Path:
    """Where the configuration files are: inside an installed wheel, beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` only when all was written and flushed to disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, f".{path.name}.", ".part")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove_abandoned(folder: Path, prefix: str, suffix: str = "") -> None:
    """Remove what killed processes left half-written, an hour ago or more: files and folders of :mod:`tempfile` names.

    What a process is still writing is younger, so that several may write beside each other.
    """
    for left in folder.glob(f"{glob.escape(prefix)}????????{glob.escape(suffix)}"):
        with suppress(OSError):  # another process may have removed it first
            if time.time() - left.stat().st_mtime < _ABANDONED_AFTER:
                continue
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    write_bytes(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def read_json(path: str | os.PathLike[str]) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a readable JSON file, found {error}") from error


def gzip_bytes(content: bytes) -> bytes:
    """Compress reproducibly: no name and no time in the header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=4, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def file_sha256(path: str | os.PathLike[str]) -> bytes:
    """The digest of a file's content. Raises OSError where it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def check_archive(path: str | os.PathLike[str]) -> None:
    """Raise zipfile.BadZipFile where a part of an archive, as torch writes them, has another checksum.

    torch reads such a part without a word. What is no archive passes.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"its part {damaged} has another checksum")


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless files can be made in folder ``path``, which need not exist yet. Leaves nothing behind."""
    folder = Path(path)
    try:
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(f"{path}: cannot write there, {folder} is a file; give a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); give another output") from error


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
