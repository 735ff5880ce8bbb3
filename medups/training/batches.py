"""Batches from data workers, and what became of a worker that died."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medups.training.ranks import Order

Batch = dict[str, Tensor]
_KILLED = re.compile(r"DataLoader worker.* (?:is killed by signal: ([^.]+)|exited unexpectedly)")


class DataWorkerError(RuntimeError):
    """A process that prepares samples is gone or could not make one."""


def batches(fabric: Fabric, stream: Dataset[Batch], order: Order, workers: int) -> Generator[Batch, None, None]:
    """The batches of this process on its device.

    Raises:
        DataWorkerError: a worker died or failed; the message says of what.
    """
    loader: Any = DataLoader(
        stream,
        batch_size=order.own,
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=fabric.device.type == "cuda",
    )
    source: Any = iter(fabric.setup_dataloaders(loader, use_distributed_sampler=False))
    for _ in range(len(loader)):
        try:
            batch: Batch = next(source)
        except Exception as error:
            # let go of the loader and of the frames that hold it, which ends the other workers before this is told
            loader = source = None
            raise DataWorkerError(_cause(error)) from error.with_traceback(None)
        yield batch


@contextmanager
def dead_workers_told() -> Iterator[None]:
    """The loader's word that a worker was killed comes by a signal, whatever the program does then."""
    try:
        yield
    except RuntimeError as error:
        if _KILLED.search(str(error)) and not isinstance(error, DataWorkerError):
            raise DataWorkerError(_cause(error)) from error
        raise


def _cause(error: Exception) -> str:
    found = _KILLED.search(f"{error} {error.__cause__ or error.__context__ or ''}")
    if found or isinstance(error, ConnectionError | EOFError):  # a worker that dies while it hands over a batch
        how = (found and found[1]) or "without a word"
        return (
            f"a data worker died ({how.strip()}), mostly because memory ran out: lower training.workers or "
            "training.batch_size; the last checkpoint is kept"
        )
    lines = str(error).strip().splitlines()
    return f"a sample could not be made: {lines[-1] if lines else type(error).__name__}"
