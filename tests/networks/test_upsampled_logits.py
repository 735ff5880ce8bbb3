"""Class scores in place of features."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medups.instantiate import instantiate
from medups.networks import UpsampledLogits


def quarter(dims):
    layer = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    return layer(3, 5, 4, 4, padding=1)


@pytest.mark.parametrize("dims", [2, 3])
def test_linear_is_interpolation(dims):
    network = UpsampledLogits(quarter(dims), 5, upsampler="linear", spatial_dims=dims)
    image = torch.randn(2, 3, *(22, 30, 13)[:dims])
    mode = {2: "bilinear", 3: "trilinear"}[dims]
    expected = F.interpolate(network.network(image), image.shape[2:], mode=mode, align_corners=False)
    torch.testing.assert_close(network(image), expected)


@pytest.mark.parametrize("upsampler", ["resfu", "freqfusion", "carafe", "sapa_d"])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_part_learns(upsampler, dims):
    torch.manual_seed(0)
    options = {"freqfusion": {"offset_groups": 1}, "sapa_d": {"groups": 1}}.get(upsampler, {})
    network = UpsampledLogits(quarter(dims), 5, 4, upsampler, options, dims)
    image = torch.randn(2, 3, *(22, 30, 13)[:dims])
    logits = network(image)
    assert logits.shape == (2, 5, *image.shape[2:])
    logits.square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all(name.endswith("bias") for name in idle), idle  # the same constant for all taps changes nothing


def test_from_a_configuration():
    inner = {"_target_": "medups.networks.pictures.SegNeXt", "out_channels": 5, "variant": "tiny"}
    spec = {"_target_": "medups.networks.UpsampledLogits", "network": inner, "out_channels": 5, "ratio": 8}
    assert instantiate(spec)(torch.randn(1, 3, 64, 96)).shape == (1, 5, 64, 96)
