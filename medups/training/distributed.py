"""Distributed training: the processes share each batch and compute the same result as a single process."""

from __future__ import annotations

import atexit
import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from medups.errors import InputError

Value = TypeVar("Value")


def make_fabric(accelerator: str, devices: int | str, num_nodes: int, precision: str) -> Fabric:
    """A Fabric for the processes in the settings, or for those that torchrun or SLURM launched.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
        devices, num_nodes: processes on each machine, and machines.
        precision: ``32-true``, ``16-mixed`` or ``bf16-mixed``.

    Raises:
        InputError: a device or precision that is not available.
    """
    if precision == "16-mixed" and (accelerator == "cpu" or not torch.accelerator.is_available()):
        raise InputError("training.precision=16-mixed needs a GPU; a CPU supports bf16-mixed and 32-true")
    try:
        devices, num_nodes = _launched() or (devices, num_nodes)
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            strategy="auto" if is_single(devices, num_nodes) else "ddp",
            precision=precision,  # type: ignore[arg-type]  # the settings allow Fabric's names only
            plugins=SLURMEnvironment(auto_requeue=False) if _launched_by_slurm() else None,
        )
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:  # Fabric names what is missing
        raise InputError(f"training.accelerator, devices, num_nodes or precision: {error}") from error


def launch(fabric: Fabric) -> None:
    """Start the processes and connect them until this program ends."""
    fabric.launch()
    atexit.register(_disconnect)


def _disconnect() -> None:
    # a process that exits with gloo's threads running can abort
    if dist.is_initialized():
        dist.destroy_process_group()


def is_single(devices: int | str, nodes: int) -> bool:
    """Whether the settings describe a single process."""
    return devices in (1, "1") and nodes == 1


def is_launched() -> bool:
    """Whether this process was launched as one of several."""
    return _launched() is not None or "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Whether this is the first or only process of its run."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _launched() -> tuple[int, int] | None:
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    if _launched_by_slurm():
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return None


def _launched_by_slurm() -> bool:
    # Fabric mistakes the tasks of an interactive allocation for single processes
    multiple_tasks = "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    return multiple_tasks and "TORCHELASTIC_RUN_ID" not in os.environ


def samples_per_process(batch_size: int, parts: int, processes: int) -> int:
    """Samples per process in each part of a batch. Raises InputError if they cannot be divided evenly."""
    if batch_size < 1 or batch_size % (parts * processes):
        raise InputError(
            f"training.batch_size={batch_size} must be a multiple of accumulate x processes = {parts} x {processes}"
        )
    return batch_size // (parts * processes)


def gathered_batch(local: Tensor) -> Tensor:
    """Concatenate the tensors of all processes along the batch; gradients are correct after DDP averages them.

    A loss with sums over the batch, such as the published Dice, is thus computed on the full batch, not averaged over
    the processes.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return local
    gathered: Tensor = _Gathered.apply(local)
    return gathered


def gathered_objects(local: Value) -> list[Value]:
    """The values of all processes, in their order."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [local]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, local)
    return values


def share_buffers(network: nn.Module) -> None:
    """Broadcast the buffers of the first process to all, which DDP does only in the next step."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        tensors = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(tensors, local.contiguous())
        return torch.cat(tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # every process computed the same loss of the full batch, so each already has the full gradient
        processes, rank = dist.get_world_size(), dist.get_rank()
        return gradients[0].chunk(processes)[rank] * processes
