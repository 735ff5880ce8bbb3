"""The batches of each process, prepared by data workers, and the cause if a worker dies."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset, Sampler

from medups.tasks.task import Batch
from medups.training.distributed import samples_per_process

_KILLED = re.compile(r"DataLoader worker.* (?:is killed by signal: ([^.]+)|exited unexpectedly)")


class DataWorkerError(RuntimeError):
    """A data worker died or could not prepare a sample."""


class BatchShareSampler(Sampler[int]):
    """Yields the sample numbers of one process in order: its share of each part of each batch."""

    def __init__(self, steps: range, batch_size: int, parts: int, rank: int, processes: int) -> None:
        self.steps, self.batch_size, self.parts, self.rank = steps, batch_size, parts, rank
        self.share = samples_per_process(batch_size, parts, processes)

    def __iter__(self) -> Iterator[int]:
        part_size = self.batch_size // self.parts
        for step in self.steps:
            for part in range(self.parts):
                first = step * self.batch_size + part * part_size + self.rank * self.share
                yield from range(first, first + self.share)

    def __len__(self) -> int:
        return len(self.steps) * self.parts * self.share


def batches(
    fabric: Fabric,
    stream: Dataset[Batch],
    sampler: BatchShareSampler,
    workers: int,
    collate: Callable[[list[Any]], Batch] | None = None,
) -> Generator[Batch, None, None]:
    """The batches of this process on its device, joined by ``collate``; by default, tensors are stacked.

    Raises:
        DataWorkerError: a worker died or failed; the message states the cause.
    """
    loader: Any = DataLoader(
        stream,
        batch_size=sampler.share,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        pin_memory=fabric.device.type == "cuda",
    )
    source: Any = iter(fabric.setup_dataloaders(loader, use_distributed_sampler=False))
    for _ in range(len(loader)):
        try:
            batch: Batch = next(source)
        except Exception as error:
            # release the loader and the frames that refer to it, so that other workers end before the error is raised
            loader = source = None
            raise DataWorkerError(_cause(error)) from error.with_traceback(None)
        yield batch


@contextmanager
def dead_workers_reported() -> Iterator[None]:
    """Convert the loader's error for a killed worker, which a signal handler can raise anywhere, to DataWorkerError."""
    try:
        yield
    except RuntimeError as error:
        if _KILLED.search(str(error)) and not isinstance(error, DataWorkerError):
            raise DataWorkerError(_cause(error)) from error
        raise


def _cause(error: Exception) -> str:
    killed = _KILLED.search(f"{error} {error.__cause__ or error.__context__ or ''}")
    if killed or isinstance(error, ConnectionError | EOFError):  # a worker that dies while it sends a batch
        signal = (killed and killed[1]) or "no message"
        return (
            f"a data worker died ({signal.strip()}), usually because memory ran out: lower training.workers and "
            "repeat the command; the last checkpoint is intact"
        )
    lines = str(error).strip().splitlines()
    return f"a sample could not be prepared: {lines[-1] if lines else type(error).__name__}"
