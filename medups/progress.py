"""Progress of long operations, shown on a terminal, in a log, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Receives messages and progress."""

    def log(self, message: str) -> None:
        """Show a message."""

    def track(self, items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
        """Yield the items and advance a progress bar with each."""

    def share(self, title: str) -> Callable[[float], None]:
        """A bar for one operation; call the returned function with the completed fraction, 0 to 1."""

    def steps(self, total: int, done: int) -> Callable[[int, float], None]:
        """A bar for training steps; call the returned function with the step and its loss."""


class SilentProgress:
    """Progress that shows nothing."""

    def log(self, message: str) -> None:
        pass

    def track(self, items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
        yield from items

    def share(self, title: str) -> Callable[[float], None]:
        return lambda _: None

    def steps(self, total: int, done: int) -> Callable[[int, float], None]:
        return lambda _step, _loss: None
