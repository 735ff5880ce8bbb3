"""Locks on files. They end with the process that holds them, however it ends, and with the workers it forked."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medups.errors import InputError

_WITHOUT_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)


def lock(handle: int) -> bool:
    """Lock a file that is open for writing.

    Returns:
        False if another process holds the lock. A file system without locks always grants it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _WITHOUT_LOCKS
    return True


@contextmanager
def only_process(folder: Path, work: str) -> Iterator[None]:
    """Hold the lock of ``folder``, which is created if it is missing, and removed again if it stays empty.

    Raises:
        InputError: another process holds it; the message says that this ``work`` is running there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        # a file that another process has just removed locks nothing
        if not lock(handle) or not path.exists() or not os.path.samestat(os.fstat(handle), path.stat()):
            raise InputError(f"{folder}: {work} is running there; wait until it ends, or choose another output")
        try:
            yield
        finally:
            with suppress(OSError):
                if list(folder.iterdir()) == [path]:
                    path.unlink()
                    folder.rmdir()
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # also for workers that were forked meanwhile
    finally:
        os.close(handle)
