"""Compile every Triton kernel to machine code for a given GPU; no GPU is required.

    python tests/ops/compile_kernels.py 90 float32 bfloat16      # capability and types; prints one line per kernel

Triton's interpreter accepts code that its compiler rejects. No kernel runs here: outputs are uninitialized.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from medups.ops import backend, neighbor_similarity, reassemble, sample_offsets
from medups.ops.box_sums import box_mean
from medups.ops.resizing import resize_linear

SIZES = [((5, 7), (10, 16)), ((4, 4, 6), (8, 8, 16))]
REASSEMBLIES = [
    {"taps": "nearest"},
    {"taps": "nearest", "border": "reflect", "softmax": True},
    {"taps": "linear"},
    {"taps": "linear", "softmax": True},
]


class Driver:
    """The device information that Triton needs to compile."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def forward_and_backward(function, *tensors):
    leaves = [tensor.requires_grad_() for tensor in tensors]
    out = function(*leaves)
    torch.autograd.grad(out, leaves, torch.ones_like(out))


def compile_operators(small, large, dtype):
    def ones(channels, size):
        return torch.ones(2, channels, *size, dtype=dtype)

    dims = len(small)
    forward_and_backward(partial(resize_linear, size=large), ones(32, small))
    forward_and_backward(partial(box_mean, radius=2), ones(32, small))
    for channels, groups, kernel in ((1, 1, 1), (32, 2, 3)):
        for options in REASSEMBLIES:
            weights = torch.ones(2, groups, kernel**dims, *large, dtype=dtype)
            forward_and_backward(partial(reassemble, kernel_size=kernel, **options), ones(channels, small), weights)
            if dtype == torch.float32:
                forward_and_backward(
                    partial(reassemble, kernel_size=kernel, **options), ones(channels, small), weights.detach().double()
                )
        similarity = partial(neighbor_similarity, kernel_size=kernel, dilation=2)
        forward_and_backward(similarity, ones(channels, large), ones(channels, small))
        forward_and_backward(sample_offsets, ones(channels, small), ones(dims * groups, large))


def main(capability: int, *dtypes: str) -> None:
    compiled: Counter[str] = Counter()
    run = JITFunction.run

    def compile_only(self, *args, grid, warmup, **options):
        compiled[self.fn.__name__] += run(self, *args, grid=grid, warmup=True, **options) is not None

    triton.runtime.driver.set_active(Driver(capability))
    JITFunction.run = compile_only
    backend._INTERPRETED = True  # so that the backend accepts CPU tensors
    with backend.use_backend("triton"):
        for small, large in SIZES:
            for dtype in dtypes:
                compile_operators(small, large, getattr(torch, dtype))
    for name, launches in sorted(compiled.items()):
        print(name, launches)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
