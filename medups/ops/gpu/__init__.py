"""The same operators as Triton kernels: for CUDA tensors, and in Triton's interpreter for tensors on a CPU.

Nothing here is imported before it is needed: :mod:`medups.ops` works without Triton.
"""
