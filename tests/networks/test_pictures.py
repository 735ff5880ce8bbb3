"""Networks for pictures: sizes against the papers' tables, parts against written-out formulas, every upsampler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from medups.networks.pictures import SegFormer, Segmenter, SegNeXt
from medups.networks.pictures.heads import PLACEMENTS, PlacedUpsampling
from medups.networks.pictures.mscan import StripConvolutions
from medups.networks.pictures.segnext import factorized
from medups.upsamplers import list_upsamplers

# millions of parameters and billions of multiply-adds at 512 x 512 with 150 classes, as the papers print them
PUBLISHED = {
    "SegFormer-B0": (lambda: SegFormer(150, "b0", project="linear"), 3.8, 8.4),
    "SegFormer-B1": (lambda: SegFormer(150, "b1", project="linear"), 13.7, 15.9),
    "SegFormer-B2": (lambda: SegFormer(150, "b2", project="linear"), 27.5, 62.4),
    "SegNeXt-T": (lambda: SegNeXt(150, "t"), 4.3, 6.6),
    "SegNeXt-S": (lambda: SegNeXt(150, "s"), 13.9, 15.9),
    "SegNeXt-B": (lambda: SegNeXt(150, "b"), 27.6, 34.9),
    "Segmenter-S with masks": (lambda: Segmenter(150, "s", head="mask"), 26.0, None),
}


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_and_costs_are_those_of_the_papers(name):
    build, millions, billions = PUBLISHED[name]
    network = build().eval()
    assert round(parameters(network) / 1e6, 1) == millions
    if billions is not None:
        if name.startswith("SegFormer"):
            network.encoder.set_attn_implementation("eager")  # the counter does not know the fused attention
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, 512, 512))
        assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.035)


def test_resfu_adds_what_its_module_has():
    """47,570 parameters for each of three modules between 256 and 256 channels with GN32, PCDC and both scores."""
    plain, guided = SegFormer(150, "b1", width=256), SegFormer(150, "b1", "resfu", width=256)
    assert parameters(guided) - parameters(plain) == 3 * 47570


def test_freqfusion_adds_what_its_modules_have():
    """SegNeXt-T: 104 and 120 compressed channels, and offsets from similarities; 116,146 and 141,234 parameters."""
    options = {"compressed_channels": "quarter", "offset_features": "similarity"}
    fused = SegNeXt(150, "t", "freqfusion", options, placement="fusion")
    first, second = fused.head.upsampling.upsamplers
    assert (first.in_channels, first.guide_channels, second.in_channels, second.guide_channels) == (256, 160, 416, 64)
    assert (parameters(first), parameters(second)) == (116146, 141234)
    assert parameters(fused) - parameters(SegNeXt(150, "t")) == 116146 + 141234


@pytest.mark.parametrize("upsampler", [None, *list_upsamplers()])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_upsampler_in_every_place_learns(upsampler, placement):
    torch.manual_seed(0)
    options = {"groups": 2} if upsampler == "dysample" else {}
    for network, size in (
        (SegFormer(5, "tiny", upsampler, options, placement, width=32, drop_path=0), (17, 25)),
        (SegNeXt(5, "tiny", upsampler, options, placement), (9, 13)),
    ):
        for name, parameter in network.named_parameters():
            if name.endswith("offset.predict.weight"):  # LDA-AQU's, 0 at first, so that layers before it do not learn
                torch.nn.init.normal_(parameter, std=0.1)
        logits = network(torch.randn(2, 3, 65, 97))
        assert logits.shape == (2, 5, *size)
        logits.square().sum().backward()
        idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # a constant added to all taps of a softmax changes nothing; the last guide of FreqFusion is fused
        assert all("upsampler" in name and name.endswith("bias") for name in idle), idle


@pytest.mark.parametrize("head", ["linear", "mask"])
@pytest.mark.parametrize("upsampler", [None, "linear", "resfu", "carafe"])
def test_segmenter(head, upsampler):
    torch.manual_seed(0)
    network = Segmenter(5, "tiny", 64, head, upsampler, drop_path=0).eval()
    ratio = 1 if upsampler is None else 4
    for height, width in ((64, 64), (65, 90)):
        logits = network(torch.randn(2, 3, height, width))
        assert logits.shape == (2, 5, ratio * -(-height // 16), ratio * -(-width // 16))
    logits.square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("upsampler" in name and name.endswith("bias") for name in idle), idle


def test_mask_decoder_compares_patches_with_classes():
    """Logits are layer-normed cosines of projected patches and classes, written out for one pixel."""
    torch.manual_seed(0)
    decoder = Segmenter(4, "tiny", 32, "mask").eval().head.mask
    x, classes = torch.randn(1, 64, 2, 2), torch.randn(1, 4, 64)
    patch = decoder.proj_patch.weight @ x[0, :, 1, 0]
    similarity = []
    for number in range(4):
        other = decoder.proj_classes.weight @ classes[0, number]
        similarity.append(patch @ other / (patch.norm() * other.norm()))
    values = torch.stack(similarity)
    expected = (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(decoder.logits(x, classes)[0, :, 1, 0], expected, atol=1e-5)


def test_direct_placement_is_the_published_interpolation():
    maps = [torch.randn(1, c, n, n + 1) for c, n in ((3, 16), (4, 8), (5, 4))]
    maps = [maps[0], F.interpolate(maps[1], (8, 9)), F.interpolate(maps[2], (4, 5))]
    joined = PlacedUpsampling([3, 4, 5], "linear", {})(maps)
    expected = [F.interpolate(x, (16, 17), mode="bilinear", align_corners=False) for x in maps[1:]]
    assert torch.allclose(joined, torch.cat([maps[0], *expected], 1), atol=1e-6)


def test_fusion_placement_chains_refined_guides():
    """FreqFusion on the concatenation of all coarser maps, channel group by channel group: two written-out steps."""
    torch.manual_seed(0)
    maps = [torch.randn(1, 8, n, n) for n in (16, 8, 4)]
    placed = PlacedUpsampling([8, 8, 8], "freqfusion", {"offset_groups": 2}, "fusion").eval()
    first = placed.upsamplers[0](maps[2], maps[1])
    joined = torch.cat([first.guide[:, :4], first.x[:, :4], first.guide[:, 4:], first.x[:, 4:]], 1)
    second = placed.upsamplers[1](joined, maps[0])
    expected = torch.cat([second.guide[:, :4], second.x[:, :8], second.guide[:, 4:], second.x[:, 8:]], 1)
    assert torch.equal(placed(maps), expected)


def test_strip_convolutions_against_full_kernels():
    """A pair of strips is one convolution with the outer product of both, for impulses away from the border."""
    torch.manual_seed(0)
    gate = StripConvolutions(2)
    for convolution in (gate.conv0_1, gate.conv1_1, gate.conv2_1):
        torch.nn.init.zeros_(convolution.bias)
    x = torch.randn(1, 2, 9, 9)
    near = F.conv2d(x, gate.conv0.weight, gate.conv0.bias, padding=2, groups=2)
    total = near.clone()
    for row, column, length in (
        (gate.conv0_1, gate.conv0_2, 7), (gate.conv1_1, gate.conv1_2, 11), (gate.conv2_1, gate.conv2_2, 21),
    ):  # fmt: skip
        kernel = column.weight * row.weight  # [C, 1, length, 1] * [C, 1, 1, length]
        total += F.conv2d(near, kernel, column.bias, padding=length // 2, groups=2)
    expected = F.conv2d(total, gate.conv3.weight, gate.conv3.bias) * x
    assert torch.allclose(gate(x), expected, atol=1e-4)


def test_factorization_approaches_a_low_rank_matrix():
    """Multiplicative updates never increase the error (Lee and Seung), and find a product that exists."""
    generator = torch.Generator().manual_seed(1)
    exact = torch.rand(1, 20, 3, generator=generator) @ torch.rand(1, 3, 50, generator=generator)

    def error(steps):
        found = factorized(exact, 3, steps)
        return float((found - exact).norm() / exact.norm())

    errors = [error(steps) for steps in (1, 5, 20, 100, 5000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


def test_evaluation_is_repeatable_and_rates_reach_the_head():
    from medups.training.param_groups import parameter_groups

    torch.manual_seed(0)
    network = SegNeXt(5, "tiny", "resfu").eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        single = network(image)
        assert torch.equal(network(image), single)
        torch.testing.assert_close(network(torch.cat([image, image]))[1:], single)
    groups = parameter_groups(network, 1e-4, 0.01, rates={"head.*": 10})
    fast = sum(p.numel() for group in groups if np.isclose(group["lr"], 1e-3) for p in group["params"])
    assert fast == sum(p.numel() for p in network.head.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SegFormer(5, "b9"), "expected one of b0, b1"),
        (lambda: SegFormer(5, "tiny", "magic"), "unknown upsampler 'magic'"),
        (lambda: SegFormer(5, "tiny", placement="sideways"), "direct, stepwise, fusion"),
        (lambda: SegNeXt(5, "x"), "expected one of t, s, b, l"),
        (lambda: Segmenter(5, "tiny", head="big"), "'linear' or 'mask'"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
