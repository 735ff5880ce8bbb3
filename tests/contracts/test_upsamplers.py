"""The contract of every upsampler. To add a method, add a line to ``METHODS``."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from medups.ops.backend import use_backend
from medups.ops.reassembly import torch_path
from medups.upsamplers import create_upsampler, list_upsamplers
from tests.contracts.methods import CHANNELS, DIMS, EACH, GUIDE, METHODS, inputs, matrix


def test_every_registered_method_is_covered():
    assert {method.name for method in METHODS.values()} == set(list_upsamplers())


@settings(max_examples=8, deadline=None)
@example(small=[1, 1, 1], extra=[0, 0, 0], batch=1)
@example(small=[1, 1, 1], extra=[1, 2, 0], batch=1)
@given(
    small=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    extra=st.lists(st.integers(0, 7), min_size=3, max_size=3),
    batch=st.integers(0, 2),
)
@DIMS
@EACH
def test_any_size(method, dims, small, extra, batch):
    """For any sizes, the output has the guide's size, and the output and the gradient of x are finite."""
    large = [n + more for n, more in zip(small, extra, strict=True)]
    x, guide = inputs(dims, small[:dims], large[:dims], batch=batch)
    x.requires_grad_()
    out = method.make(dims)(x, guide)
    assert out.x.shape == (batch, CHANNELS, *large[:dims])
    assert out.guide.shape == guide.shape
    assert torch.isfinite(out.x).all()
    if batch:
        out.x.sum().backward()
        assert torch.isfinite(x.grad).all()


@DIMS
@EACH
def test_gradcheck(method, dims):
    x, guide = inputs(dims, (2, 3, 2)[:dims], (5, 6, 3)[:dims], torch.float64, batch=1)
    up = method.make(dims).double()
    inputs_ = (x.requires_grad_(), guide.requires_grad_())
    used = torch.autograd.grad(up(*inputs_).x.sum(), inputs_, allow_unused=True)
    if used[1] is None:  # the method reads no guide
        assert torch.autograd.gradcheck(lambda x: up(x, guide.detach()).x, inputs_[:1], fast_mode=True)
        return
    assert torch.autograd.gradcheck(lambda *a: tuple(up(*a)), inputs_, fast_mode=True)


@DIMS
@EACH
def test_constant_in_constant_out(method, dims):
    if not method.constant:
        pytest.skip("zeros beyond the border, a gate or a learned filter may change a constant")
    _, guide = inputs(dims, (3, 4, 2)[:dims], (7, 8, 4)[:dims])
    out = method.make(dims)(torch.full((2, CHANNELS, *(3, 4, 2)[:dims]), 3.0), guide)
    torch.testing.assert_close(out.x, torch.full_like(out.x, 3.0))


@DIMS
@EACH
def test_results_are_bit_identical(method, dims):
    x, guide = inputs(dims)
    up = method.make(dims)

    def run():
        a, b = x.clone().requires_grad_(), guide.clone().requires_grad_()
        out = up(a, b)
        (out.x.square().sum() + out.guide.square().sum()).backward()
        return out.x, a.grad, b.grad

    assert all(torch.equal(first, second) for first, second in zip(run(), run(), strict=True))


@DIMS
@EACH
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_inference_in_slabs(method, dims, ratio, monkeypatch):
    """Without gradients, large maps are processed in slabs; the results match those of training."""
    monkeypatch.setattr(torch_path, "SLAB_BYTES", 1)
    small = (13, 4, 3)[:dims]
    x, guide = inputs(dims, small, tuple(ratio * n for n in small), torch.float64)
    up = method.make(dims).double()
    trained = up(x.requires_grad_(), guide)
    with torch.no_grad():
        inferred = up(x, guide)
    torch.testing.assert_close(inferred.x, trained.x, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(inferred.guide, trained.guide, rtol=1e-12, atol=1e-13)


@DIMS
@EACH
def test_copies_and_state(method, dims):
    x, guide = inputs(dims)
    up = method.make(dims)
    expected = up(x, guide).x
    buffer = io.BytesIO()
    torch.save(up.state_dict(), buffer)
    buffer.seek(0)
    fresh = create_upsampler(
        method.name, spatial_dims=dims, in_channels=CHANNELS, guide_channels=GUIDE, **method.options
    )
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    for copied in (fresh, copy.deepcopy(up), pickle.loads(pickle.dumps(up))):
        assert torch.equal(copied(x, guide).x, expected)


@DIMS
@EACH
def test_channels_last_input(method, dims):
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    x, guide = inputs(dims)
    up = method.make(dims)
    out = up(x.contiguous(memory_format=layout), guide.contiguous(memory_format=layout))
    torch.testing.assert_close(out.x, up(x, guide).x, rtol=1e-5, atol=1e-4)  # other kernels sum in another order


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@DIMS
@EACH
def test_half_precision(method, dims, dtype):
    """Forward and backward; the error against float64 is at most twice that of torch's operators plus rounding."""
    x, guide = inputs(dims)
    up = method.make(dims)
    exact = copy.deepcopy(up).to(dtype).double()(x.to(dtype).double(), guide.to(dtype).double()).x
    low, low_guide = x.to(dtype).requires_grad_(), guide.to(dtype).requires_grad_()
    result = copy.deepcopy(up).to(dtype)(low, low_guide)
    assert result.x.dtype == dtype
    (result.x.float().sum() + result.guide.float().sum()).backward()
    assert torch.isfinite(low.grad).all()
    with use_backend("reference"), torch.no_grad():
        reference = copy.deepcopy(up).to(dtype)(low, low_guide).x
    budget = 2 * (reference.double() - exact).abs().max() + torch.finfo(dtype).eps * exact.abs().max()
    assert (result.x.double() - exact).abs().max() <= budget


@DIMS
@EACH
def test_autocast(method, dims):
    x, guide = inputs(dims)
    up = method.make(dims)
    with torch.autocast("cpu", torch.bfloat16):
        out = up(x.requires_grad_(), guide)
    out.x.float().sum().backward()
    assert torch.isfinite(x.grad).all()
    exact = up(x, guide).x
    assert (out.x - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("half", ["x", "guide"])
@EACH
def test_autocast_of_maps_that_differ_in_type(method, half):
    """Under GPU autocast, norms return float32 and convolutions half precision, so skip and deep map can differ."""
    x, guide = inputs(2)
    up = method.make(2)
    mixed = [value.bfloat16() if name == half else value for name, value in (("x", x), ("guide", guide))]
    with pytest.raises(TypeError, match="they must match"):
        up(*mixed)
    with torch.autocast("cpu", torch.bfloat16):
        out = up(mixed[0].requires_grad_(), mixed[1])
    (out.x.float().sum() + out.guide.float().sum()).backward()
    assert torch.isfinite(mixed[0].grad).all()
    exact = up(*(value.float() for value in mixed)).x
    assert (out.x - exact).abs().max() < 0.1 * exact.abs().max()


@DIMS
@EACH
def test_meta_device(method, dims):
    """Shapes without data, as planners and compilers need."""
    x, guide = (value.to("meta") for value in inputs(dims))
    out = method.make(dims).to("meta")(x, guide)
    assert out.x.shape == (2, CHANNELS, *guide.shape[2:])
    assert out.guide.shape == guide.shape


@pytest.mark.parametrize("dims", [2, 3])
@matrix()
def test_an_empty_batch_reaches_every_parameter(method, dims):
    """One of several processes may get an empty batch; a parameter without a gradient would block all of them."""
    stem = nn.Conv2d(3, CHANNELS, 1) if dims == 2 else nn.Conv3d(3, CHANNELS, 1)
    up = method.make(dims)
    out = up(stem(torch.zeros(0, 3, *(3, 4, 2)[:dims])), torch.zeros(0, GUIDE, *(6, 9, 4)[:dims])).x
    out.sum().backward()
    assert out.shape == (0, CHANNELS, *(6, 9, 4)[:dims])
    assert all(parameter.grad is not None for parameter in (*stem.parameters(), *up.parameters()))
