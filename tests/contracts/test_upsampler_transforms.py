"""Every upsampler traced, vectorized, on the meta device, and exported with free sizes."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from monai.networks.nets import UNet
from torch.export import Dim

from medups.networks import swap_upsampling
from tests.contracts.methods import EACH, inputs, matrix

DIMS = pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # sizes are constants of a trace
@DIMS
@EACH
def test_torchscript_trace(method, dims, tmp_path):
    """A trace gives the same values, also after it was saved, and for other values of the same sizes."""
    up = method.make(dims).eval()
    x, guide = inputs(dims)
    traced = torch.jit.trace(up, (x, guide))  # with gradients; torch checks it against a trace without
    with torch.no_grad():
        traced.save(str(tmp_path / "up.pt"))
        loaded = torch.jit.load(str(tmp_path / "up.pt"))
        for values in ((x, guide), (x.flip(2), guide.flip(2))):
            torch.testing.assert_close(loaded(*values)[0], up(*values).x, rtol=1e-4, atol=1e-5)


@DIMS
@EACH
def test_vmap(method, dims):
    """A vectorized call equals one call per sample."""
    up = method.make(dims).double().eval()
    x, guide = inputs(dims, dtype=torch.float64)
    vectorized = torch.func.vmap(lambda a, b: up(a[None], b[None]).x[0])(x, guide)
    expected = torch.cat([up(a[None], b[None]).x for a, b in zip(x, guide, strict=True)])
    torch.testing.assert_close(vectorized, expected)


@matrix()
def test_gradients_per_sample(method):
    """vmap over grad, as differential privacy uses it, equals one backward pass per sample."""
    up = method.make(2).double()
    if not list(up.parameters()):
        pytest.skip("no parameters")
    x, guide = inputs(2, (2, 3), dtype=torch.float64)
    parameters = dict(up.named_parameters())

    def loss(parameters, a, b):
        return torch.func.functional_call(up, parameters, (a[None], b[None])).x.square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, guide)
    for number in range(len(x)):
        up.zero_grad()
        loss(parameters, x[number], guide[number]).backward()
        for name, parameter in up.named_parameters():
            torch.testing.assert_close(gradients[name][number], parameter.grad)


@DIMS
@EACH
def test_materialized_from_the_meta_device(method, dims):
    """``to_empty`` and a state dict restore everything: no value is stored outside the state dict."""
    up = method.make(dims)
    x, guide = inputs(dims)
    restored = copy.deepcopy(up).to("meta").to_empty(device="cpu")
    for value in (*restored.parameters(), *restored.buffers()):
        value.data.fill_(float("nan"))
    restored.load_state_dict(up.state_dict())
    assert torch.equal(restored(x, guide).x, up(x, guide).x)


@pytest.mark.full
@pytest.mark.parametrize("upsampler", ["carafe", "resfu", "freqfusion"])
def test_onnx_of_a_swapped_network_with_free_sizes(upsampler, tmp_path):
    """One file for any height and width: the numbers of the network at a size that the export did not see."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.manual_seed(0)
    net = UNet(2, 1, 3, (8, 16, 32), (2, 2))
    swap_upsampling(net, upsampler)
    net.eval()
    free = {0: Dim("batch"), 2: 4 * Dim("height", min=4, max=64), 3: 4 * Dim("width", min=4, max=64)}
    path = tmp_path / "net.onnx"
    torch.onnx.export(net, (torch.randn(2, 1, 32, 48),), str(path), dynamo=True, verbose=False, dynamic_shapes=(free,))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for size in ((2, 1, 32, 48), (1, 1, 64, 20), (3, 1, 16, 100)):
        image = torch.randn(*size)
        result = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(result), net(image), rtol=1e-3, atol=1e-4)
