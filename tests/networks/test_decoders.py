"""Decoders on pyramids of any size."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from monai.networks.nets import ResNetFeatures
from torch.nn import functional as F

from medups.networks import DirectDecoder, FusionDecoder, SwinUNet, TransUNet

CHANNELS = (8, 12, 16)


def pyramid(dims):
    sizes = [(n, n + 2, n)[:dims] for n in (9, 5, 3)]
    return [torch.randn(2, channels, *size) for channels, size in zip(CHANNELS, sizes, strict=True)]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("upsampler", ["resfu", "freqfusion", "linear", "carafe"])
@pytest.mark.parametrize(
    ("decoder", "options"), [(DirectDecoder, {}), (FusionDecoder, {}), (FusionDecoder, {"join": "add"})]
)
def test_odd_sizes_and_every_parameter_learns(decoder, options, upsampler, dims):
    torch.manual_seed(0)
    extra = {"compressed_channels": 16} if upsampler == "freqfusion" else {}
    net = decoder(dims, CHANNELS, 3, 16, upsampler, extra, deep_supervision=True, **options)
    maps = pyramid(dims)
    logits = net(maps, size=(18, 22, 18)[:dims])
    assert logits[0].shape == (2, 3, *(18, 22, 18)[:dims])
    assert len(logits) == 3
    sum(level.square().sum() for level in logits).backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # the direct decoder ignores a refined guide; softmax is invariant to a constant added to all logits
    assert all("upsampler" in name and ("highpass" in name or name.endswith("bias")) for name in idle), idle
    assert net.eval()(maps).shape == (2, 3, *maps[0].shape[2:])


def test_direct_decoder_with_linear_upsampling_matches_torch():
    """SegFormer's head: projections, bilinear resizing to the finest map, one fusion."""
    torch.manual_seed(0)
    net, maps = DirectDecoder(2, CHANNELS, 3, 16, "linear").eval(), pyramid(2)
    size = maps[0].shape[2:]
    projected = [net.finest(maps[0])]
    for step, x in zip(net.steps, maps[1:], strict=True):
        projected.append(F.interpolate(step.project(x), size, mode="bilinear"))
    torch.testing.assert_close(net(maps), net.head(net.fuse(torch.cat(projected, 1))))


def test_fusion_decoder_fuses_the_refined_guide():
    """Changes that FreqFusion's high pass makes to the guide affect the result."""
    torch.manual_seed(0)
    net, maps = FusionDecoder(2, CHANNELS, 3, 16, "freqfusion", {"compressed_channels": 16}).eval(), pyramid(2)
    before = net(maps)
    torch.nn.init.normal_(net.steps[-1].upsampler.highpass.weight)
    assert (net(maps) - before).abs().max() > 1e-3


def test_on_a_monai_encoder():
    encoder = ResNetFeatures("resnet10", pretrained=False, spatial_dims=2, in_channels=1)
    image = torch.randn(1, 1, 64, 48)
    maps = encoder(image)[:4]
    net = DirectDecoder(2, [x.shape[1] for x in maps], 2, 16)
    assert net(maps, size=image.shape[2:]).shape == (1, 2, 64, 48)


def test_bad_arguments():
    with pytest.raises(ValueError, match="in_channels must list at least two maps"):
        DirectDecoder(2, [8], 2)
    with pytest.raises(ValueError, match="width must be a multiple of 8, got 12"):
        FusionDecoder(2, CHANNELS, 2, 12)
    with pytest.raises(ValueError, match="expected 3 maps, got 2"):
        FusionDecoder(2, CHANNELS, 2, 16)(pyramid(2)[:2])


@pytest.mark.parametrize(
    ("network", "levels"),
    [
        (partial(TransUNet, 32, variant="tiny", upsampler="resfu"), (32, 16, 8, 4)),
        (partial(SwinUNet, 64, variant="test"), (64, 16, 8)),
    ],
    ids=["TransUNet", "SwinUNet"],
)
def test_deep_supervision_of_complete_networks(network, levels):
    """Training returns a list, finest first, and every head gets a gradient; eval mode ignores deep supervision."""
    torch.manual_seed(0)
    net, baseline = network(out_channels=3, deep_supervision=True), network(out_channels=3)
    image = torch.randn(2, 1, levels[0], levels[0])
    logits = net.train()(image)
    assert [tuple(level.shape) for level in logits] == [(2, 3, n, n) for n in levels]
    sum(level.square().mean() for level in logits).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    extra = baseline.load_state_dict(net.state_dict(), strict=False).unexpected_keys
    assert {name.split(".")[0] for name in extra} == {"deep_heads"}
    with torch.no_grad():
        assert torch.equal(net.eval()(image), baseline.eval()(image))
