"""Read the next item and write the last one while one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from medups.errors import InputError

Item = TypeVar("Item")
Stages = tuple[Callable[[Item], Any], Callable[[Item, Any], Any], Callable[[Item, Any], None]]


def in_stages(
    items: Iterator[Item], stages: Stages[Item], ahead: Callable[[Item], bool]
) -> Iterator[tuple[Item, InputError | None]]:
    """Yield every item as it ends, with the InputError of the stage that refused it.

    Args:
        stages: read an item; work on what was read; write the result. Work is done in the calling thread, and at most
            one item each is read ahead and being written.
        ahead: whether an item may be read before the one in front of it is done.

    Any other error stops all stages. It is raised after a write in progress ends.
    """
    read, work, write = stages
    with ThreadPoolExecutor(2) as pool:
        writing: tuple[Item, Future[None]] | None = None
        waiting: tuple[Item, Future[Any] | None] | None = None
        for upcoming in _with_end(items):
            reading = None if upcoming is None or not ahead(upcoming[0]) else pool.submit(read, upcoming[0])
            if waiting is not None:
                item, future = waiting
                try:
                    result = work(item, read(item) if future is None else future.result())
                except InputError as error:
                    yield item, error
                else:
                    if writing is not None:
                        yield _written(*writing)
                    writing = item, pool.submit(write, item, result)
            waiting = None if upcoming is None else (upcoming[0], reading)
        if writing is not None:
            yield _written(*writing)


def _with_end(items: Iterator[Item]) -> Iterator[tuple[Item] | None]:
    """The items, each in a tuple, and None at the end."""
    for item in items:
        yield (item,)
    yield None


def _written(item: Item, future: Future[None]) -> tuple[Item, InputError | None]:
    try:
        future.result()
    except InputError as error:
        return item, error
    return item, None
