"""Measures of upsamplers, by hand and in a training step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medups.networks import TransUNet
from medups.training.watch import Watch, upsampler_measures
from medups.upsamplers import CARAFE, DySample, FreqFusion, create_upsampler, list_upsamplers, upsampler_class
from medups.upsamplers.base import Kernels


class Given(CARAFE):
    """An upsampler with these kernels."""

    def __init__(self, kernels):
        super().__init__(2, 1)
        self.given = kernels

    def kernels(self, x, guide=None):
        return {"kernel": self.given}


def measures(logits, size, taps="nearest"):
    kernels = Kernels(logits.reshape(1, 1, 9, *logits.shape[-2:]), 3, taps, size)
    return upsampler_measures(Given(kernels), torch.zeros(1, 1, *size), None)


@pytest.mark.parametrize("taps", ["nearest", "linear"])
def test_uniform_kernels(taps):
    """The largest entropy; outside a map of one pixel are 8 of 9 taps."""
    values = measures(torch.zeros(9, 1, 1), (1, 1), taps)
    assert values["kernel_entropy"] == pytest.approx(1)
    assert values["kernel_outside"] == pytest.approx(8 / 9)
    assert values["kernel_divergence"] == pytest.approx(math.log(9))  # the interpolation is the middle tap alone


def test_interpolation_has_no_divergence():
    """Output pixels of a ratio of 2 read the middle with 0.75 and a neighbor with 0.25, along both axes."""
    lines = [torch.tensor([0.25, 0.75, 0]), torch.tensor([0, 0.75, 0.25])]
    weights = torch.zeros(9, 8, 8)
    for row in range(8):
        for column in range(8):
            y, x = lines[row % 2].clone(), lines[column % 2].clone()
            for line, at in ((y, row), (x, column)):
                if at == 0:
                    line[:] = torch.tensor([0, 1, 0])
                if at == 7:
                    line[:] = torch.tensor([0, 1, 0])
            weights[:, row, column] = (y[:, None] * x).flatten()
    values = measures(weights.log(), (4, 4))
    assert values["kernel_divergence"] == pytest.approx(0, abs=1e-6)
    assert values["kernel_outside"] == 0
    sharp = torch.full((9, 8, 8), -20.0)
    sharp[4] = 0
    assert measures(sharp, (4, 4), "linear")["kernel_divergence"] == pytest.approx(0, abs=1e-6)


def test_offsets_by_hand():
    """An offset of 3 columns and 4 rows has length 5; only the first pixels of the map stay inside."""
    upsampler = DySample(2, 4)
    bias = torch.zeros(2, 4, 2, 2)
    bias[0], bias[1] = 3 / 0.25, 4 / 0.25
    nn.init.zeros_(upsampler.offset.weight)
    upsampler.offset.bias.data = bias.flatten()
    values = upsampler_measures(upsampler, torch.randn(1, 4, 8, 8), None)
    assert values["offsets_mean"] == pytest.approx(5)
    assert values["offsets_p99"] == pytest.approx(5)
    assert values["offsets_outside"] == pytest.approx(1 - (5 / 8) * (4 / 8))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in list_upsamplers()
        if upsampler_class(name).parts
        and name not in ("sapa_d", "lda_aqu", "onsampling")  # they read several positions
    ],
)
def test_kernels_and_offsets_give_the_output(name, dims):
    """The reported kernels and offsets are those that the forward pass uses."""
    from medups.ops import reassemble, sample_offsets

    torch.manual_seed(0)
    options = {"compressed_channels": 16, "offset_generator": False} if name == "freqfusion" else {}
    upsampler = create_upsampler(name, spatial_dims=dims, in_channels=8, guide_channels=8, **options)
    for parameter in upsampler.parameters():
        nn.init.normal_(parameter, std=0.1)
    x, guide = torch.randn(2, 8, *[5, 4, 3][:dims]), torch.randn(2, 8, *[10, 8, 6][:dims])
    with torch.no_grad():
        out = upsampler(x, guide).x
        offsets = upsampler.offset_field(x, guide)
        if offsets is not None:
            torch.testing.assert_close(sample_offsets(x, offsets.flatten(1, 2)), out)
            return
        kernels = next(iter(upsampler.kernels(x, guide).values()))
        border = "replicate" if name == "local_attender" else "zeros"
        sizes = {"kernel_size": kernels.kernel_size, "taps": kernels.taps, "border": border}
        read = reassemble(x, kernels.logits, softmax=True, **sizes)
        if name.startswith("fade"):
            gate = torch.sigmoid(upsampler.gate(x)).repeat_interleave(2, 2).repeat_interleave(2, 3)
            gate = gate.repeat_interleave(2, 4) if dims == 3 else gate
            read = torch.lerp(read, guide, gate)
        torch.testing.assert_close(read, out)


def test_watch_reports_every_second_step():
    """Update norms of plain SGD are the rate times the gradient norm; watching changes nothing."""
    torch.manual_seed(0)
    net = TransUNet(32, 1, 2, "freqfusion", {"compressed_channels": 16}, variant="tiny", image_guide=False)
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    reports = []
    watch = Watch(2, lambda measured, step: reports.append((step, measured)))
    image = torch.randn(2, 1, 32, 32)
    for step in range(1, 5):
        with watch.step(net, step):
            optimizer.zero_grad()
            net(image).square().mean().backward()
            optimizer.step()
    assert [step for step, _ in reports] == [2, 4]
    assert sorted(reports[0][1]) == [f"decoder.steps.{number}.upsampler" for number in range(3)]
    for values in reports[0][1].values():
        assert {"lowpass_entropy", "highpass_divergence", "offsets_p99"} <= values.keys()
        for part in ("kernels", "offsets"):
            gradient = values[f"{part}_gradient_norm"]
            assert values[f"{part}_update_norm"] == pytest.approx(0.5 * gradient, rel=1e-3)
            assert gradient > 0
    assert not any(module._forward_pre_hooks for module in net.modules() if isinstance(module, FreqFusion))
