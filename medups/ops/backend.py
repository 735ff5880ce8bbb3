"""Which implementation of an operator runs.

reference   the formula in torch's own operators, with torch's own gradients; any device and type
torch       the same with gradients of its own that store no intermediate maps, in cache-sized parts on a CPU
triton      one kernel for all taps; CUDA tensors, and on a CPU with TRITON_INTERPRET=1 for tests
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

Backend = Literal["reference", "torch", "triton"]

_TRITON = find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_TRITON_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_wanted: list[Backend | None] = [None]


@contextmanager
def use_backend(backend: Backend | None) -> Iterator[None]:
    """What operators inside the block run by where their own ``backend`` is None."""
    _wanted.append(backend)
    try:
        yield
    finally:
        _wanted.pop()


def choose_backend(backend: Backend | None, *tensors: Tensor) -> Backend:
    """``backend``, or the fastest that can run on these tensors.

    Raises:
        ValueError: an unknown backend, or one that cannot run here, with the reason.
    """
    wanted = backend or _wanted[-1]
    if wanted is None:
        return "triton" if tensors[0].is_cuda and why_not_triton(*tensors) is None else "torch"
    if wanted not in get_args(Backend):
        raise ValueError(f"backend must be None or one of {', '.join(get_args(Backend))}; got {wanted!r}")
    reason = why_not_triton(*tensors) if wanted == "triton" else None
    if reason:
        raise ValueError(f"backend='triton' cannot run here: {reason}")
    return wanted


def why_not_triton(*tensors: Tensor) -> str | None:
    """Why the kernels cannot run on these tensors; None where they can."""
    if not _TRITON:
        return "the package triton is not installed"
    if torch.compiler.is_exporting():
        return "exported graphs hold torch's own operators"
    for tensor in tensors:
        if not tensor.is_cuda and not (_INTERPRETED and tensor.device.type == "cpu"):
            return f"it needs CUDA tensors, got one on {tensor.device} (TRITON_INTERPRET=1 runs it on a CPU, slowly)"
        if tensor.dtype not in _TRITON_TYPES:
            return f"it takes floating-point tensors, got {tensor.dtype}"
    return None


def inference_on_cpu(*tensors: Tensor) -> bool:
    """Is this a plain call on a CPU whose gradient nobody needs? Then work may go part by part into one output."""
    if torch.compiler.is_compiling() or any(tensor.device.type != "cpu" for tensor in tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
