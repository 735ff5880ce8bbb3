"""What a run says while it goes on, and what it leaves to read: log.txt and TensorBoard events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class Display(Protocol):
    """What a person sees."""

    def log(self, message: str) -> None: ...
    def track(self, items: Iterable[Item], what: str, total: int) -> Iterator[Item]: ...
    def steps(self, total: int, done: int) -> Callable[[int, float], None]: ...


class Records:
    """Log, scalars and pictures; processes after the first keep none."""

    def __init__(self, folder: Path, display: Display, keep: bool, done: int) -> None:
        self._display = display
        self._file = self._board = None
        if keep:
            from torch.utils.tensorboard import SummaryWriter

            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "log.txt").open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder), purge_step=done + 1)

    def log(self, message: str) -> None:
        if self._file is not None:
            self.note(message)
            self._display.log(message)

    def note(self, message: str) -> None:
        """To the file alone."""
        if self._file is not None:
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
            self._file.flush()

    def scalars(self, part: str, values: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{part}/{name}", value, step)

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        for one in (self._file, self._board):
            if one is not None:
                one.close()


@contextmanager
def records(folder: Path, display: Display, keep: bool, done: int) -> Iterator[Records]:
    """``done``: the steps a resumed run goes on after; what was recorded of later ones is taken again."""
    kept = Records(folder, display, keep, done)
    try:
        yield kept
    except Exception as error:
        kept.note(f"{type(error).__name__}: {error}")
        raise
    finally:
        kept.close()
