"""Every upsampler compiled, exported and distributed."""

from __future__ import annotations

import pytest
import torch

from medups.ops.backend import use_backend
from medups.upsamplers import create_upsampler
from tests.contracts.methods import METHODS, inputs, matrix


def train_a_step(rank, address, method, gradients):
    """Train on half of the batch with DistributedDataParallel, as one of two processes."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    up = torch.nn.parallel.DistributedDataParallel(method.make(2).double())
    x, guide = (value[rank : rank + 1] for value in inputs(2, dtype=torch.float64))
    out = up(x, guide)
    (out.x.square().sum() + out.guide.square().sum()).backward()
    gradients[rank] = {name: parameter.grad for name, parameter in up.module.named_parameters()}
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "name", [name if name in ("resfu", "dysample") else pytest.param(name, marks=pytest.mark.full) for name in METHODS]
)
def test_distributed(name, tmp_path):
    """The mean gradient of two processes with half the batch each is half the full one; no parameter is unused."""
    method = METHODS[name]
    reference = method.make(2).double()
    if not list(reference.parameters()):
        pytest.skip("no parameters to distribute")
    with torch.multiprocessing.Manager() as manager:
        gradients = manager.dict()
        torch.multiprocessing.spawn(train_a_step, (tmp_path / "address", method, gradients), nprocs=2)
        first, second = gradients[0], gradients[1]
    out = reference(*inputs(2, dtype=torch.float64))
    (out.x.square().sum() + out.guide.square().sum()).backward()
    for key, parameter in reference.named_parameters():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(2 * first[key], parameter.grad)


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
@matrix()
def test_compile(method, dims):
    """No graph breaks, and no recompilation for another size. In float64, since the order of sums differs."""
    up = method.make(dims).double()
    torch._dynamo.reset()
    compiled = torch.compile(up, fullgraph=True, dynamic=True, backend="aot_eager")
    for small in ((4, 5, 3), (6, 7, 5)):
        x, guide = inputs(dims, small[:dims], dtype=torch.float64)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        result, expected = compiled(a, guide).x, up(b, guide).x
        torch.testing.assert_close(result, expected)
        result.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(a.grad, b.grad)


@matrix()
def test_second_derivatives_of_the_reference(method):
    x, guide = inputs(2, (2, 3), dtype=torch.float64)
    up = method.make(2).double()
    with use_backend("reference"):
        assert torch.autograd.gradgradcheck(lambda x: up(x, guide).x, x.requires_grad_(), fast_mode=True)


def test_compiled_with_and_then_without_enlargement():
    up = create_upsampler("resfu", spatial_dims=2, in_channels=4, guide_channels=4).double()
    torch._dynamo.reset()
    compiled = torch.compile(up, backend="aot_eager")
    for small, large in (((5, 6), (10, 12)), ((9, 9), (9, 9))):
        x, guide = torch.randn(1, 4, *small, dtype=torch.float64), torch.randn(1, 4, *large, dtype=torch.float64)
        torch.testing.assert_close(compiled(x, guide).x, up(x, guide).x)


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
@matrix()
def test_export(method, dims):
    """In float64, since the order of sums differs."""
    x, guide = inputs(dims, dtype=torch.float64)
    up = method.make(dims).double().eval()
    program = torch.export.export(up, (x, guide))
    torch.testing.assert_close(program.module()(x, guide).x, up(x, guide).x)


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
@matrix()
def test_onnx(method, dims, tmp_path):
    """In float32 the result is about as close to that in float64 as PyTorch's own."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    x, guide = inputs(dims)
    up = method.make(dims).eval()
    path = tmp_path / "up.onnx"
    torch.onnx.export(up, (x, guide), str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {node.name: value.numpy() for node, value in zip(session.get_inputs(), (x, guide), strict=False)}
    result = torch.from_numpy(session.run(None, feeds)[0])
    own = up(x, guide).x
    exact = up.double()(x.double(), guide.double()).x
    assert float((result - exact).abs().max()) <= 2 * float((own - exact).abs().max()) + 1e-6
