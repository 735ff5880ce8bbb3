"""The jobs of several processes, which torchrun or srun started: each takes the next one when it is free."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

Item = TypeVar("Item")
_SILENCE = 3600.0  # seconds without a finished job after which a process is taken for dead
_POLL = 0.2
_FIRST_PORT, _PORTS = 15000, 15000


class Shares:
    """Hands out jobs: all of them to a single process, otherwise each to the process that asks first.

    The counter is in the launcher's own store, so nobody waits for the slowest share.
    """

    def __init__(self) -> None:
        self.rank, self.processes, self._store = 0, 1, None
        if _is_launched():
            self._store, self.rank, self.processes = _connect()

    @property
    def local_rank(self) -> int:
        """The number of this process on its machine, which chooses its GPU."""
        return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))

    def of(self, items: Sequence[Item]) -> Iterator[Item]:
        """The items that this process should do; all processes must pass the same ones in the same order."""
        if self._store is None:
            yield from items
            return
        while (index := self._store.add("medups/next", 1) - 1) < len(items):
            yield items[index]
            self._store.add("medups/finished", 1)

    def wait(self, point: str) -> None:
        """Return when all processes have reached this point, or have been silent for an hour.

        A launcher stops all processes when one exits with an error, and the first one may hold the store: nobody
        exits before the others have nothing left to write.
        """
        if self._store is None:
            return
        key = f"medups/{point}"
        self._store.add(key, 1)
        seen, since = -1, time.monotonic()
        while self._store.add(key, 0) < self.processes:
            finished = self._store.add("medups/finished", 0)
            if finished != seen:
                seen, since = finished, time.monotonic()
            if time.monotonic() - since > _SILENCE:
                return
            time.sleep(_POLL)
        if self.rank == 0:
            time.sleep(5 * _POLL)  # the others read the last count from the store, which this process may hold


def _is_launched() -> bool:
    tasks = int(os.environ.get("SLURM_NTASKS", 1)) if "SLURM_PROCID" in os.environ else 1
    return "TORCHELASTIC_RUN_ID" in os.environ or tasks > 1


def _connect() -> tuple[Any, int, int]:
    """The store, this process' rank, and the number of processes."""
    from torch.distributed import rendezvous

    if "TORCHELASTIC_RUN_ID" not in os.environ:
        from lightning_fabric.plugins.environments import SLURMEnvironment

        nodes, job = os.environ.get("SLURM_NODELIST", "localhost"), int(os.environ.get("SLURM_JOB_ID", 0))
        os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
        os.environ.setdefault("MASTER_PORT", str(_FIRST_PORT + job % _PORTS))  # jobs on one machine differ
        os.environ["RANK"], os.environ["WORLD_SIZE"] = os.environ["SLURM_PROCID"], os.environ["SLURM_NTASKS"]
    store, rank, processes = next(iter(rendezvous("env://", timeout=timedelta(minutes=10))))
    return store, rank, processes
