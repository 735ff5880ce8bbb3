"""Batches from data workers, and what became of a worker that died."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medups.training.ranks import Order

Batch = dict[str, Tensor]


class DataWorkerError(RuntimeError):
    """A process that prepares samples is gone or could not make one."""


def batches(fabric: Fabric, stream: Dataset[Batch], order: Order, workers: int) -> Generator[Batch, None, None]:
    """The batches of this process on its device.

    Raises:
        DataWorkerError: a worker died or failed; the message says of what.
    """
    loader = DataLoader(
        stream, batch_size=order.own, sampler=order, num_workers=workers, persistent_workers=workers > 0
    )
    source: Iterator[Any] = iter(fabric.setup_dataloaders(loader, use_distributed_sampler=False))
    for _ in range(len(loader)):
        try:
            batch: Batch = next(source)
        except Exception as error:
            raise DataWorkerError(_cause(error, workers)) from error
        yield batch


def _cause(error: Exception, workers: int) -> str:
    text = f"{error} {error.__cause__ or error.__context__ or ''}"
    if found := re.search(r"is killed by signal: ([^.]+)|exited unexpectedly", text):
        how = found[1] or "without a word"
        return (
            f"a data worker died ({how.strip()}), mostly because memory ran out: lower training.workers "
            f"({workers} now) or training.batch_size; the last checkpoint is kept"
        )
    lines = str(error).strip().splitlines()
    return f"a sample could not be made: {lines[-1] if lines else type(error).__name__}"
