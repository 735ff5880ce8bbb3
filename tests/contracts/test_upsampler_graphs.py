"""Every upsampler compiled, exported and distributed."""

from __future__ import annotations

import pytest
import torch

from medups.ops.backend import use_backend
from medups.upsamplers import create_upsampler
from tests.contracts.methods import METHODS, inputs, matrix


def train_a_step(rank, address, method, found):
    """One of two processes: its half of the batch through DistributedDataParallel."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    up = torch.nn.parallel.DistributedDataParallel(method.make(2).double())
    x, guide = (value[rank : rank + 1] for value in inputs(2, dtype=torch.float64))
    out = up(x, guide)
    (out.x.square().sum() + out.guide.square().sum()).backward()
    found[rank] = {name: parameter.grad for name, parameter in up.module.named_parameters()}
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "name", [name if name in ("resfu", "dysample") else pytest.param(name, marks=pytest.mark.full) for name in METHODS]
)
def test_distributed(name, tmp_path):
    """Two processes with half the batch each average to half the gradient of the whole; no parameter is unused."""
    method = METHODS[name]
    whole = method.make(2).double()
    if not list(whole.parameters()):
        pytest.skip("no parameters to distribute")
    with torch.multiprocessing.Manager() as manager:
        found = manager.dict()
        torch.multiprocessing.spawn(train_a_step, (tmp_path / "address", method, found), nprocs=2)
        first, second = found[0], found[1]
    out = whole(*inputs(2, dtype=torch.float64))
    (out.x.square().sum() + out.guide.square().sum()).backward()
    for key, parameter in whole.named_parameters():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(2 * first[key], parameter.grad)


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
@matrix()
def test_compile(method, dims):
    """Without graph breaks, for another size too without compiling again for it. In float64: sums in another order."""
    up = method.make(dims).double()
    torch._dynamo.reset()
    compiled = torch.compile(up, fullgraph=True, dynamic=True, backend="aot_eager")
    for small in ((4, 5, 3), (6, 7, 5)):
        x, guide = inputs(dims, small[:dims], dtype=torch.float64)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, expected = compiled(a, guide).x, up(b, guide).x
        torch.testing.assert_close(found, expected)
        found.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(a.grad, b.grad)


@matrix()
def test_second_derivatives_of_the_reference(method):
    x, guide = inputs(2, (2, 3), dtype=torch.float64)
    up = method.make(2).double()
    with use_backend("reference"):
        assert torch.autograd.gradgradcheck(lambda x: up(x, guide).x, x.requires_grad_(), fast_mode=True)


def test_compiled_for_any_size_and_then_for_none_to_enlarge():
    up = create_upsampler("resfu", spatial_dims=2, in_channels=4, guide_channels=4).double()
    torch._dynamo.reset()
    compiled = torch.compile(up, backend="aot_eager")
    for small, large in (((5, 6), (10, 12)), ((9, 9), (9, 9))):
        x, guide = torch.randn(1, 4, *small, dtype=torch.float64), torch.randn(1, 4, *large, dtype=torch.float64)
        torch.testing.assert_close(compiled(x, guide).x, up(x, guide).x)


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
@matrix()
def test_export(method, dims):
    x, guide = inputs(dims)
    up = method.make(dims).eval()
    program = torch.export.export(up, (x, guide))
    torch.testing.assert_close(program.module()(x, guide).x, up(x, guide).x)


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
@matrix()
def test_onnx(method, dims, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    x, guide = inputs(dims)
    up = method.make(dims).eval()
    path = tmp_path / "up.onnx"
    torch.onnx.export(up, (x, guide), str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {wanted.name: value.numpy() for wanted, value in zip(session.get_inputs(), (x, guide), strict=False)}
    found = torch.from_numpy(session.run(None, feeds)[0])
    torch.testing.assert_close(found, up(x, guide).x, rtol=1e-4, atol=1e-5)
