"""Several processes, each on its share of a batch, that compute what one would."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import Sampler

from medups.errors import InputError

Value = TypeVar("Value")
_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def make_fabric(training: Mapping[str, Any]) -> Fabric:
    """The processes that ``training`` asks for (accelerator, devices, num_nodes), or that torchrun or SLURM began.

    Raises:
        InputError: a device or precision that is not there.
    """
    precision = training["precision"]
    if precision not in _PRECISIONS:
        raise InputError(f"training.precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}")
    if precision == "16-mixed" and (training["accelerator"] == "cpu" or not torch.accelerator.is_available()):
        raise InputError("training.precision=16-mixed needs a GPU; on a CPU there are bf16-mixed and 32-true")
    try:
        devices, nodes = _begun() or (training["devices"], int(training["num_nodes"]))
        return Fabric(
            accelerator=str(training["accelerator"]),
            devices=devices,
            num_nodes=nodes,
            strategy="auto" if is_single(devices, nodes) else "ddp",
            precision=precision,
            plugins=SLURMEnvironment(auto_requeue=False) if _begun_by_slurm() else None,
        )
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:  # Fabric says what is not there
        raise InputError(f"training.accelerator, devices, num_nodes or precision: {error}") from error


def is_single(devices: int | str, nodes: int) -> bool:
    """Is that one process?"""
    return devices in (1, "1") and nodes == 1


def is_begun() -> bool:
    """Was this process begun as one of several?"""
    return _begun() is not None or "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Is this the first process of its run, or the only one?"""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _begun() -> tuple[int, int] | None:
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    if _begun_by_slurm():
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return None


def _begun_by_slurm() -> bool:
    # Fabric's own look takes the tasks of an interactive allocation for single processes
    several = "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    return several and "TORCHELASTIC_RUN_ID" not in os.environ


def share_of(batch_size: int, parts: int, ranks: int) -> int:
    """Samples that one process takes of each part of a batch. Raises InputError where they cannot be shared evenly."""
    if batch_size < 1 or batch_size % (parts * ranks):
        raise InputError(
            f"training.batch_size={batch_size} must be a multiple of accumulate x processes = {parts} x {ranks}"
        )
    return batch_size // (parts * ranks)


class Order(Sampler[int]):
    """The samples of one process, in the order it takes them: its share of each part of each batch."""

    def __init__(self, steps: range, batch_size: int, parts: int, rank: int, ranks: int) -> None:
        self.steps, self.batch_size, self.parts, self.rank = steps, batch_size, parts, rank
        self.own = share_of(batch_size, parts, ranks)

    def __iter__(self) -> Iterator[int]:
        part_size = self.batch_size // self.parts
        for step in self.steps:
            for part in range(self.parts):
                first = step * self.batch_size + part * part_size + self.rank * self.own
                yield from range(first, first + self.own)

    def __len__(self) -> int:
        return len(self.steps) * self.parts * self.own


def whole_batch(own: Tensor) -> Tensor:
    """What all processes have, one after another along the batch; a gradient of it is right after DDP's mean.

    So a loss that takes sums over the batch, as the published Dice, is that of the batch and not a mean of losses.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return own
    gathered: Tensor = _Gathered.apply(own)
    return gathered


def gathered_objects(own: Value) -> list[Value]:
    """The values of all processes, in their order."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [own]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, own)
    return values


def share_buffers(network: nn.Module) -> None:
    """Give every process the first one's buffers, which DDP does no sooner than in the next step."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # every process took the same loss of the same batch, so each has the whole gradient already
        ranks, rank = dist.get_world_size(), dist.get_rank()
        return gradients[0].chunk(ranks)[rank] * ranks
