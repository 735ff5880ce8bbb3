"""Choice of the implementation that an operator runs.

reference   the formula in built-in torch operators, with their built-in gradients; any device and dtype
torch       the same values, with custom gradients that store no intermediate maps and cache-sized blocks on a CPU
triton      one kernel for all taps; CUDA tensors, or CPU tensors with TRITON_INTERPRET=1 for tests
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

Backend = Literal["reference", "torch", "triton"]

_HAS_TRITON = find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_TRITON_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_requested: ContextVar[Backend | None] = ContextVar("medups_backend", default=None)


@contextmanager
def use_backend(backend: Backend | None) -> Iterator[None]:
    """Run operators called with ``backend=None`` in this thread on ``backend`` inside the block.

    Graphs compiled by ``torch.compile`` ignore it; pass the operator's ``backend`` argument there.
    """
    token = _requested.set(backend)
    try:
        yield
    finally:
        _requested.reset(token)


def choose_backend(backend: Backend | None, *tensors: Tensor, in_graphs: Backend = "reference") -> Backend:
    """``backend``, or the fastest one that can run on these tensors.

    Args:
        in_graphs: the backend for exported and traced graphs and ``torch.func`` transforms, which all need built-in
            torch operators.

    Raises:
        ValueError: an unknown backend, or one that cannot run here (the message gives the reason).
    """
    requested = backend or (None if torch.compiler.is_compiling() else _requested.get())  # Dynamo cannot read it
    if requested is None:
        if needs_builtin_operators():
            return in_graphs
        return "triton" if tensors[0].is_cuda and why_not_triton(*tensors) is None else "torch"
    if requested not in get_args(Backend):
        raise ValueError(f"backend must be None or one of {', '.join(get_args(Backend))}; got {requested!r}")
    reason = why_not_triton(*tensors) if requested == "triton" else None
    if reason:
        raise ValueError(f"backend='triton' cannot run here: {reason}")
    return requested


def needs_builtin_operators() -> bool:
    """Whether a graph is being exported or traced, or a function is transformed by ``torch.func`` (vmap, grad, jvp).

    Operators registered by this library are not available there.
    """
    if torch.compiler.is_exporting():
        return True
    if torch.compiler.is_compiling():
        return False
    return torch.jit.is_tracing() or torch._C._functorch.maybe_current_level() is not None


def why_not_triton(*tensors: Tensor) -> str | None:
    """The reason why the Triton kernels cannot run on these tensors; None if they can."""
    if not _HAS_TRITON:
        return "the package triton is not installed"
    if needs_builtin_operators():
        return "exported, traced and transformed graphs support built-in torch operators only"
    for tensor in tensors:
        if not tensor.is_cuda and not (_INTERPRETED and tensor.device.type == "cpu"):
            return f"it needs CUDA tensors, got one on {tensor.device} (TRITON_INTERPRET=1 runs it on a CPU, slowly)"
        if tensor.dtype not in _TRITON_DTYPES:
            return f"it takes floating-point tensors, got {tensor.dtype}"
    return None


def inference_on_cpu(*tensors: Tensor) -> bool:
    """Whether this is an eager CPU call without gradients, so that the output can be filled block by block."""
    if torch.compiler.is_compiling() or needs_builtin_operators():
        return False
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
