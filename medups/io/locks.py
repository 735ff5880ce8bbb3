"""Locks on files, which end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medups.errors import InputError

_TAKEN = (errno.EACCES, errno.EAGAIN)


def lock(handle: int) -> bool:
    """Lock an open file for this process.

    Returns:
        False if another process holds the lock. A file system without locks always grants it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _TAKEN
    return True


@contextmanager
def only_process(folder: Path, work: str) -> Iterator[None]:
    """Hold the lock of ``folder``, which is created if it is missing.

    Raises:
        InputError: another process holds it; the message says that this ``work`` is running there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
    try:
        if not lock(handle):
            raise InputError(f"{folder}: {work} is running there; wait until it ends, or choose another output")
        yield
    finally:
        os.close(handle)
