"""The log of a run: log.txt and TensorBoard events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class RunLog:
    """Messages, scalars and pictures, written by the first process only."""

    def __init__(self, folder: Path, show: Callable[[str], None], write: bool, done: int) -> None:
        self._show = show
        self._file = self._board = None
        if write:
            from torch.utils.tensorboard import SummaryWriter

            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "log.txt").open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder), purge_step=done + 1)

    def log(self, message: str) -> None:
        """Write a message to the file and to the screen."""
        if self._file is not None:
            self.note(message)
            self._show(message)

    def note(self, message: str) -> None:
        """Write a message to the file only."""
        if self._file is not None:
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
            self._file.flush()

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Write the named values of a step, as ``group/name``."""
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Write a picture [H, W, 3] of a step."""
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Close the files."""
        for output in (self._file, self._board):
            if output is not None:
                output.close()


@contextmanager
def open_run_log(folder: Path, show: Callable[[str], None], write: bool, done: int) -> Iterator[RunLog]:
    """Open a run log, which also records the error that ends the block.

    Args:
        show: called with each message.
        write: whether this process writes.
        done: steps of a resumed run; scalars of later steps are replaced.
    """
    run_log = RunLog(folder, show, write, done)
    try:
        yield run_log
    except Exception as error:
        run_log.note(f"{type(error).__name__}: {error}")
        raise
    finally:
        run_log.close()
