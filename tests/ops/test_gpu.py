"""Triton kernels against the reference, on a GPU if available, otherwise in Triton's interpreter (slow)."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from medups.ops import neighbor_similarity, reassemble, sample_offsets
from medups.ops.backend import choose_backend, use_backend
from medups.ops.box_sums import box_mean
from medups.ops.resizing import resize_linear
from medups.upsamplers import create_upsampler

pytest.importorskip("triton", reason="Triton is not installed; it supports only Linux")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def values(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE, dtype)


def outputs_and_gradients(function, tensors):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = function(*leaves)
    direction = values(*out.shape, dtype=out.dtype, seed=9)
    return [out, *torch.autograd.grad(out, leaves, direction)]


def compare(function, *tensors, tolerance=1e-12):
    """Compare outputs and gradients of both backends, relative to the maximum of each tensor.

    Some gradients, such as that of a bias before a norm, are zero except for rounding error. The tolerance therefore
    includes a fraction of the overall maximum, which is the magnitude of the terms that cancel.
    """
    with use_backend("reference"):
        expected = outputs_and_gradients(function, tensors)
    with use_backend("triton"):
        computed = outputs_and_gradients(function, tensors)
    rounding = 1e-13 * max(1, *(float(result.detach().abs().max()) for result in expected))
    for result, target in zip(computed, expected, strict=True):
        assert result.shape == target.shape
        assert result.dtype == target.dtype
        assert (result - target).abs().max() <= tolerance * target.abs().max() + rounding


QUICK = [
    # in, out, kernel, groups, taps, border, softmax
    ((2, 3), (4, 6), 3, 1, "nearest", "zeros", False),
    ((3, 2), (4, 5), 3, 2, "nearest", "reflect", True),
    ((2, 2), (3, 4), 3, 1, "linear", "zeros", True),
    ((2, 1, 2), (3, 1, 3), 1, 1, "linear", "zeros", False),
    ((1, 2, 2), (1, 3, 4), 3, 1, "nearest", "replicate", True),
]
SWEEP = [
    (small, large, kernel, groups, taps, border, softmax)
    for small, large, kernel, groups in (((3, 4), (7, 8), 3, 2), ((2, 3), (4, 9), 5, 1), ((1, 2, 2), (2, 2, 3), 3, 1))
    for taps, border in (("nearest", "zeros"), ("nearest", "reflect"), ("nearest", "replicate"), ("linear", "zeros"))
    for softmax in (False, True)
]


@pytest.mark.parametrize("case", QUICK + [pytest.param(case, marks=pytest.mark.full) for case in SWEEP], ids=str)
def test_reassemble(case):
    small, large, kernel, groups, taps, border, softmax = case
    x, weights = values(1, 2, *small), values(1, groups, kernel ** len(small), *large, seed=1)

    def run(x, weights):
        return reassemble(x, weights, kernel_size=kernel, taps=taps, border=border, softmax=softmax)

    compare(run, x, weights)


@pytest.mark.parametrize("size", [(2, 3), pytest.param((2, 1, 3), marks=pytest.mark.full)], ids=str)
@pytest.mark.parametrize("metric", ["dot", "cosine"])
def test_similarity(size, metric):
    query, key = values(1, 3, *(2 * n - 1 for n in size)), values(1, 3, *size, seed=1)
    compare(lambda q, k: neighbor_similarity(q, k, kernel_size=3, dilation=2, metric=metric), query, key)


@pytest.mark.parametrize("size", [(4, 5), (2, 3, 2)], ids=str)
def test_offsets(size):
    """Both backends give clamped positions the same gradient, except exactly at the border, where it is undefined."""
    large = tuple(2 * n for n in size)
    offsets = values(2, 2 * len(size), *large, seed=1)
    compare(sample_offsets, values(2, 4, *size), offsets)


@pytest.mark.parametrize("options", [{}, {"margin": 1}, {"step": 2}], ids=str)
@pytest.mark.parametrize("dims", [2, 3])
def test_resize(dims, options):
    compare(lambda x: resize_linear(x, (4, 3, 2)[:dims], **options), values(1, 1, *(3, 3, 3)[:dims]))


def test_box_mean():
    compare(lambda x: box_mean(x, 2), values(2, 3, 6, 7))


OPERATORS = {  # with the shapes of their inputs
    "reassemble": (partial(reassemble, kernel_size=3, softmax=True), [(1, 4, 3, 2), (1, 1, 9, 4, 5)]),
    "similarity": (partial(neighbor_similarity, kernel_size=3), [(1, 4, 4, 5), (1, 4, 3, 2)]),
    "offsets": (sample_offsets, [(1, 4, 3, 2), (1, 4, 3, 2)]),
    "resize": (lambda x: resize_linear(x, (4, 5)), [(1, 4, 3, 2)]),
    "box_mean": (lambda x: box_mean(x, 1), [(1, 4, 3, 2)]),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", OPERATORS)
def test_low_precision(name, dtype):
    """The error against float64 is at most twice that of the reference in the same type."""
    run, shapes = OPERATORS[name]
    tensors = [values(*shape, dtype=dtype, seed=seed) for seed, shape in enumerate(shapes)]
    with use_backend("reference"):
        exact = outputs_and_gradients(run, [tensor.double() for tensor in tensors])
        references = outputs_and_gradients(run, tensors)
    with use_backend("triton"):
        computed = outputs_and_gradients(run, tensors)
    for value, baseline, truth in zip(computed, references, exact, strict=True):
        assert value.dtype == dtype
        budget = 2 * (baseline.double() - truth).abs().max() + torch.finfo(dtype).eps * truth.abs().max()
        assert (value.double() - truth).abs().max() <= budget


@pytest.mark.parametrize("name", OPERATORS)
def test_any_stride(name):
    """Strided inputs and gradients (views, channels_last, expanded) give the results of contiguous copies."""
    run, shapes = OPERATORS[name]

    def strided(*shape, seed):
        wide = values(shape[0], 2 * shape[1], *shape[2:-1], 1, seed=seed).expand(*(-1,) * (len(shape) - 1), shape[-1])
        return wide.transpose(-1, -2).contiguous().transpose(-1, -2)[:, ::2]

    tensors = [strided(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    results = []
    for backend, operands in (("triton", tensors), ("reference", [tensor.contiguous() for tensor in tensors])):
        with use_backend(backend):
            leaves = [tensor.detach().requires_grad_() for tensor in operands]
            out = run(*leaves)
            direction = values(*out.shape, seed=9)
            if backend == "triton":
                direction = direction.transpose(-1, -2).contiguous().transpose(-1, -2)
            results.append([out, *torch.autograd.grad(out, leaves, direction)])
    assert not any(tensor.is_contiguous() for tensor in tensors)
    for result, expected in zip(*results, strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_offsets_beyond_32_bits():
    """The last tap is 2**31 elements away, in memory that is reserved but mostly untouched."""
    far = 2**28
    memory = torch.empty(8 * far + 16, dtype=torch.float16, device=DEVICE)
    weights = torch.as_strided(memory, (1, 1, 9, 1, 2), (0, 0, far, 0, 1))
    weights.copy_(values(1, 1, 9, 1, 2, dtype=torch.float16))
    x = values(1, 1, 1, 1, dtype=torch.float16)
    for dots in (False, True):
        results = []
        for backend, tap_weights in (("triton", weights), ("reference", weights.contiguous())):
            leaves = [x.clone().requires_grad_(), tap_weights.detach().requires_grad_(dots)]
            out = reassemble(*leaves, kernel_size=3, border="replicate", softmax=dots, backend=backend)
            results.append([out, *torch.autograd.grad(out.sum(), leaves[: 1 + dots])])
        for result, expected in zip(*results, strict=True):
            torch.testing.assert_close(result, expected, rtol=2e-3, atol=2e-3)


def test_empty():
    out = reassemble(values(0, 2, 3, 3), values(0, 1, 9, 6, 6), kernel_size=3, backend="triton")
    assert out.shape == (0, 2, 6, 6)


def test_operators(opcheck):
    x, weights = values(1, 1, 2, 2, 2).requires_grad_(), values(1, 1, 9, 3, 3).requires_grad_()
    with use_backend("triton"):
        reassemble(x[0], weights, kernel_size=3)  # loads the kernels, as do the next two
        neighbor_similarity(x[0], x[0], kernel_size=3)
        resize_linear(x[0], (4, 4))
    opcheck(torch.ops.medups.gpu_reassemble, (x, weights, 3, False, "zeros", True))
    opcheck(torch.ops.medups.gpu_similarity, (x, values(1, 1, 2, 2, 2, seed=1).requires_grad_(), 3, [1, 1]))
    opcheck(torch.ops.medups.gpu_resize, (x[0], [4, 4], 0, 1))


@pytest.mark.full
@pytest.mark.parametrize("name", ["resfu", "freqfusion", "carafe", "sapa", "fade", "dysample", "linear"])
def test_upsamplers(name):
    """Complete modules on the Triton backend, with gradients of inputs and parameters."""
    torch.manual_seed(0)
    options = {"resfu": {"embed_channels": 8, "groups": 1}, "freqfusion": {"compressed_channels": 8}}.get(name, {})
    up = create_upsampler(name, spatial_dims=2, in_channels=4, guide_channels=4, **options).double().to(DEVICE)
    for parameter in up.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    names = [key for key, _ in up.named_parameters()]

    def run(x, guide, *parameters):
        out = torch.func.functional_call(up, dict(zip(names, parameters, strict=True)), (x, guide))
        return out.x if out.guide is guide else torch.cat([out.x, out.guide], 1)

    guide = values(1, 4, 3, 4, seed=1)
    tensors = [values(1, 4, 2, 2), guide, *up.parameters()]
    if not up.needs_guide:
        with use_backend("triton"):
            result = up(tensors[0], guide).x
        with use_backend("reference"):
            torch.testing.assert_close(result, up(tensors[0], guide).x, rtol=0, atol=1e-10)
        return
    compare(run, *tensors, tolerance=1e-9)


COMPILED = [
    (90, ["bfloat16"]),
    pytest.param(90, ["float16", "float32", "float64"], marks=pytest.mark.full),
    pytest.param(75, ["float16", "float32"], marks=pytest.mark.full),
]


@pytest.mark.parametrize(("capability", "dtypes"), COMPILED)
def test_all_kernels_compile(capability, dtypes, tmp_path):
    """The interpreter accepts code that the compiler rejects; the compiler needs no GPU."""
    from medups.ops.box_sums import kernels as window
    from medups.ops.offset_sampling import kernels as sampling
    from medups.ops.taps import kernels as taps

    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    script = [sys.executable, str(Path(__file__).with_name("compile_kernels.py")), str(capability), *dtypes]
    process = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    compiled = {line.split()[0] for line in process.stdout.splitlines()}
    modules = (sampling, taps, window)
    kernels = {
        name
        for module in modules
        for name in vars(module)
        if inspect.isfunction(getattr(getattr(module, name), "fn", None))
    }
    assert compiled == {name for name in kernels if not name.startswith("_")}


def test_unusable_backend_reports_the_reason():
    x, weights = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"backend must be None or one of reference, torch, triton; got 'cuda'"):
        reassemble(x, weights, kernel_size=1, backend="cuda")
    with pytest.raises(ValueError, match="it takes floating-point tensors"):
        choose_backend("triton", x.to(DEVICE).long())
    assert choose_backend(None, x) == "torch"
