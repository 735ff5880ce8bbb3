"""What long work reports to: a terminal, a log, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Messages and bars."""

    def log(self, message: str) -> None:
        """Show a message."""

    def track(self, items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
        """Yield the items and show a bar that moves with them."""

    def share(self, title: str) -> Callable[[float], None]:
        """A bar over one piece of work; call the result with the finished share, 0 to 1."""

    def steps(self, total: int, done: int) -> Callable[[int, float], None]:
        """A bar over training steps; call the result with the step and its loss."""


class SilentProgress:
    """Shows nothing."""

    def log(self, message: str) -> None:
        pass

    def track(self, items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
        yield from items

    def share(self, title: str) -> Callable[[float], None]:
        return lambda _: None

    def steps(self, total: int, done: int) -> Callable[[int, float], None]:
        return lambda _step, _loss: None
