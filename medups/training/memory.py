"""An estimate of the memory that a recipe needs, without running it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

_PROCESS = 2**30  # Python, torch and MONAI themselves
_WORKER = 2**28  # memory that a forked worker does not share
_AHEAD = 2  # batches that each worker prepares ahead, the loader's default


@dataclass(frozen=True)
class MemoryEstimate:
    """Estimated memory in bytes.

    Args:
        state: weights and their copies, gradients, and the optimizer's moments.
        activations: tensors saved for the backward pass of one part of a batch.
        loader: the data workers and their prefetched batches.
    """

    state: int
    activations: int
    loader: int

    def describe(self, device: torch.device) -> str:
        """A one-line summary, with a warning if this machine has less memory."""
        network = self.state + self.activations
        on_gpu = device.type == "cuda"
        ram = _PROCESS + self.loader + (0 if on_gpu else network)
        needs = f"about {_gib(ram)} of memory" + (f" and {_gib(network)} on the GPU" if on_gpu else "")
        line = (
            f"needs {needs}: state {_gib(self.state)}, activations {_gib(self.activations)}, data {_gib(self.loader)}"
        )
        if ram > (installed := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
            line += f"; this machine has {_gib(installed)}: lower training.batch_size or training.workers"
        if on_gpu and network > (free := torch.cuda.mem_get_info(device)[0]):
            line += f"; the GPU has {_gib(free)} free: raise training.accumulate, or lower training.batch_size"
        return line


def estimate_memory(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    sample: Mapping[str, Tensor],
    network_input: Tensor,
    batch_size: int,
    workers: int,
    dtype: torch.dtype | None = None,
    copies: int = 0,
) -> MemoryEstimate:
    """Estimate the memory for training ``network``.

    Args:
        sample: a sample of the run, without a batch axis.
        network_input: the part of it that the network sees.
        batch_size: samples per forward pass of one process.
        dtype: type used by autocast; None if it is off.
        copies: additional copies of the weights, such as a moving average.
    """
    parameters = sum(p.numel() * p.element_size() for p in network.parameters())
    moments = 2 if "betas" in optimizer.defaults else int(bool(optimizer.defaults.get("momentum")))
    batch = batch_size * sum(value.numel() * value.element_size() for value in sample.values())
    return MemoryEstimate(
        state=parameters * (2 + moments + copies),
        activations=_activations(network, network_input, batch_size, dtype),
        loader=max(1, workers) * (_WORKER * (workers > 0) + _AHEAD * batch),
    )


def _activations(network: nn.Module, image: Tensor, batch_size: int, dtype: torch.dtype | None) -> int:
    """Bytes that a forward pass saves for the backward pass, without the weights. Computes shapes only."""
    network = copy.deepcopy(network).train()  # a forward pass would advance the counters of norms
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.random.fork_rng(devices=[]):
        originals = (*network.parameters(), *network.buffers())
        # all tensors stay referenced, because the address of a freed tensor may be reused
        tensors = [item for tensor in originals for item in (tensor, mode.from_tensor(tensor))]
        weights = {_address(tensor) for tensor in tensors}
        saved: dict[int, Tensor] = {}

        def pack(tensor: Tensor) -> Tensor:
            saved[_address(tensor)] = tensor
            return tensor

        fake: Any = torch.empty(batch_size, *image.shape)
        with (
            saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None),
        ):
            network(fake)
        return sum(tensor.untyped_storage().nbytes() for address, tensor in saved.items() if address not in weights)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
