"""reassemble: gradients, borders and invalid arguments."""

from __future__ import annotations

import pytest
import torch

from medups.ops import reassemble
from medups.ops.reassembly import torch_path


@pytest.mark.parametrize("n_out", [(6, 4), (7, 3), (3, 2), (5, 6)])
@pytest.mark.parametrize("mode", [("linear", "zeros"), ("nearest", "zeros"), ("nearest", "reflect")])
def test_gradients(n_out, mode):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 2, 9, *n_out, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: reassemble(x, w, kernel_size=3, taps=mode[0], border=mode[1]), (x, weights)
    )


def test_uniform_zero_border_fades_as_published():
    """A constant field under a uniform 5x5 kernel falls to 0.60 at an edge and 0.36 in a corner."""
    out = reassemble(torch.ones(1, 1, 9, 9), torch.full((1, 1, 25, 9, 9), 1 / 25), kernel_size=5)
    assert out[0, 0, 4, 4].item() == pytest.approx(1)
    assert out[0, 0, 0, 4].item() == pytest.approx(0.60)
    assert out[0, 0, 0, 0].item() == pytest.approx(0.36)


def test_gradient_of_x_is_complete_at_the_borders():
    """Uniform 3x3 kernels at ratio 2; the published kernel loses the last rows of this gradient."""
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.full((1, 1, 9, 12, 12), 1.0, dtype=torch.float64)
    reassemble(x, weights, kernel_size=3, taps="linear").sum().backward()
    rows = x.grad.sum(1)[0].sum(1) / (3 * 12)
    torch.testing.assert_close(rows, rows.flip(0))
    assert rows.sum().item() == pytest.approx(36)


def test_single_taps_of_a_large_map_without_gradients(monkeypatch):
    """Large maps are processed in slabs of at least one row."""
    monkeypatch.setattr(torch_path, "SLAB_BYTES", 1)
    x, weights = torch.randn(1, 2, 5, 4), torch.randn(1, 1, 1, 10, 8)
    with torch.no_grad():
        result = reassemble(x, weights, kernel_size=1)
    torch.testing.assert_close(result, x.repeat_interleave(2, 2).repeat_interleave(2, 3) * weights[:, 0])


def test_empty_batch():
    out = reassemble(torch.zeros(0, 2, 3, 3), torch.zeros(0, 1, 9, 6, 6), kernel_size=3, taps="linear")
    assert out.shape == (0, 2, 6, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 2}, "kernel_size must be odd"),
        ({"taps": "cubic"}, "taps must be"),
        ({"border": "wrap"}, "border must be"),
        ({"kernel_size": 5}, "do not fit"),
    ],
)
def test_bad_arguments(changes, message):
    arguments = {"kernel_size": 3, **changes}
    with pytest.raises(ValueError, match=message):
        reassemble(torch.zeros(1, 2, 3, 3), torch.zeros(1, 1, 9, 6, 6), **arguments)
