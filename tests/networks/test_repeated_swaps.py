"""Partial swaps, repeated swaps, and networks with nothing to swap."""

from __future__ import annotations

import pytest
import torch
from monai.networks import nets
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from torch import nn

from medups.networks import TransUNet, swap_upsampling
from medups.upsamplers import SAPA, ReSFU
from tests.networks.monai_nets import DIMS, LEVELS, idle, logits, make


def test_only_some_steps():
    net, _ = make("SwinUNETR", 2)
    report = swap_upsampling(net, "resfu", only=["decoder1*", "decoder2*"])
    assert [swap.path for swap in report.swapped] == ["decoder2.transp_conv", "decoder1.transp_conv"]
    assert all("matches none of the patterns" in step.why for step in report.kept)
    assert type(net.decoder5).__name__ == "UnetrUpBlock"


def test_second_swap_of_transunet():
    torch.manual_seed(0)
    net, image = TransUNet(64, variant="tiny", upsampler="resfu").eval(), torch.randn(1, 1, 64, 64)
    assert len(swap_upsampling(net, "nearest").swapped) == 4
    reference = TransUNet(64, variant="tiny", upsampler="nearest").eval()
    reference.load_state_dict(net.state_dict())
    torch.testing.assert_close(net(image), reference(image))
    assert not idle(net, torch.randn(2, 1, 64, 64))
    second = swap_upsampling(net, "resfu")
    assert [step.path for step in second.kept] == ["decoder.steps.3.upsampler"]  # its previous guide no longer exists
    assert not idle(net, torch.randn(2, 1, 64, 64))


@DIMS
@pytest.mark.parametrize("names", [("resfu", "nearest"), ("carafe", "resfu"), ("resfu", "sapa")])
def test_only_the_last_swap_matters(names, dims):
    """Its weights, including those of the image guide, fit a network that was swapped only once."""
    net, image = make("UNet of residual units", dims)
    single, _ = make("UNet of residual units", dims)
    for name in names:
        report = swap_upsampling(net, name)
    assert (len(report.swapped), report.kept) == (2, [])
    swap_upsampling(single, names[-1])
    single.load_state_dict(net.state_dict())
    assert torch.equal(net.eval()(image), single.eval()(image))
    assert not idle(net, image)


def test_partly_swapped_pyramid_can_be_swapped_completely():
    pyramid = FeaturePyramidNetwork(2, [8, 16, 32], 8)
    swap_upsampling(pyramid, "resfu", only="steps.0")
    assert [swap.guide_channels for swap in swap_upsampling(pyramid, "resfu").swapped] == [8, 8]


@pytest.mark.parametrize("name", ["UNet", "SegResNet", "MedNeXt"])
@pytest.mark.parametrize("first", [0, -1])
def test_partial_swap_can_be_completed(name, first):
    """Regardless of whether the outermost or the innermost step was swapped first."""
    net, image = make(name, 2)
    paths = [swap.path for swap in swap_upsampling(net, "resfu", dry_run=True).swapped]
    assert len(swap_upsampling(net, "resfu", only=paths[first]).swapped) == 1
    swap_upsampling(net, "sapa")
    kinds = [type(module) for module in net.modules()]
    assert (kinds.count(SAPA), kinds.count(ReSFU)) == (len(paths), 0)
    assert torch.isfinite(logits(net.eval(), image)).all()


def test_dtype_and_mode_follow_the_network():
    net = make("BasicUNet", 2)[0].double().eval()
    swap_upsampling(net, "resfu")
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float64}
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize(
    ("net", "upsampler", "options", "message"),
    [
        (lambda: nets.HighResNet(2, 1, 2), "resfu", {}, "no upsampling was found"),
        (
            lambda: nets.VNet(2, 1, 2),
            "resfu",
            {},
            r"up_tr32\.up_conv: transposed convolution kept because it has no skip(.|\n)*UpCat",
        ),
        (lambda: nets.UNet(1, 1, 2, **LEVELS), "resfu", {}, "upsamplers need 2 or 3 spatial axes, not 1"),
        (lambda: nets.BasicUNet(1, 1, 2), "carafe", {}, "upsamplers need 2 or 3 spatial axes, not 1"),
        (lambda: make("BasicUNet", 2)[0].upcat_1, "resfu", {}, "the network: .* it is the block itself"),
        (lambda: nn.ConvTranspose2d(4, 4, 2, 2), "carafe", {}, "no upsampling was found"),
        (lambda: make("BasicUNet", 2)[0], "magic", {}, "unknown upsampler 'magic'"),
        (lambda: make("BasicUNet", 2)[0], "freqfusion", {"offset_groups": 3}, r"upcat_4\.upsample\.deconv: .*divide"),
        (lambda: make("BasicUNet", 2)[0], "resfu", {"only": "decoder*"}, "matches none of the patterns"),
    ],
)
def test_invalid_swaps(net, upsampler, options, message):
    with pytest.raises(ValueError, match=message):
        swap_upsampling(net(), upsampler, **options)


def test_transposed_convolutions_without_skips_take_unguided_upsamplers():
    torch.manual_seed(0)
    net = nets.VNet(2, 1, 2).eval()
    report = swap_upsampling(net, "carafe")
    assert len(report.swapped) == 4
    assert {swap.guide_channels for swap in report.swapped} == {None}
    assert net(torch.randn(1, 1, 32, 32)).shape == (1, 2, 32, 32)


def test_step_without_a_skip_takes_an_unguided_upsampler():
    net, image = make("FlexibleUNet", 2)
    assert not swap_upsampling(net, "carafe").kept
    assert not idle(net, image)
