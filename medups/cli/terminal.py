"""Progress on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")
_LOSS_SMOOTHING = 0.95


class Terminal:
    """Messages, bars and tables on one console; bars appear only on an interactive terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(quiet=quiet)
        self._progress: Progress | None = None

    @contextmanager
    def live(self) -> Iterator[Terminal]:
        """Show progress bars inside the block."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            self._progress = progress
            try:
                yield self
            finally:
                self._progress = None

    def log(self, message: str) -> None:
        """Print a message."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def track(self, items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
        """Yield the items and advance a progress bar with each."""
        if self._progress is None:
            yield from items
            return
        task = self._progress.add_task(title, total=total, note="")
        for item in items:
            yield item
            self._progress.advance(task)

    def share(self, title: str) -> Callable[[float], None]:
        """A bar for one operation; call the returned function with the completed fraction, 0 to 1."""
        if self._progress is None:
            return lambda _: None
        progress = self._progress
        task = progress.add_task(title, total=100, note="")

        def update(done: float) -> None:
            progress.update(task, completed=round(100 * done), visible=done < 1)

        return update

    def steps(self, total: int, done: int) -> Callable[[int, float], None]:
        """A bar for training steps with smoothed loss and speed; plain lines if the output is not a terminal."""
        if self._progress is None:
            return lambda _step, _loss: None
        progress = self._progress
        task = progress.add_task("training", total=total, completed=done, note="")
        smoothed: list[float] = []
        interval = max(1, total // 10)

        def update(step: int, loss: float) -> None:
            smoothed[:] = [loss if not smoothed else _LOSS_SMOOTHING * smoothed[0] + (1 - _LOSS_SMOOTHING) * loss]
            speed = progress.tasks[progress.task_ids.index(task)].speed
            rate = f" {speed:.2f} steps/s" if speed else ""
            progress.update(task, completed=step, note=f"loss {smoothed[0]:.4f}{rate}")
            if not self.console.is_terminal and step % interval == 0:
                self.log(f"step {step} of {total}, loss {smoothed[0]:.4f}")

        return update
