"""Swapping the upsampling of trained networks: their output does not change until they are trained further."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from monai.losses import DiceCELoss
from monai.networks import nets
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from torch import nn

from medups.metrics.overlap import dice
from medups.networks import GuidedStep, TransUNet, swap_upsampling
from medups.upsamplers import list_upsamplers, upsampler_class
from tests.networks.monai_nets import DIMS, FEATURES, NETS, logits, make

LEARNED = [name for name in list_upsamplers() if list(upsampler_class(name).parts)]
START = "interpolation"


def options(upsampler):
    return {"compressed_channels": 16} if upsampler == "freqfusion" else {}


def steps_of(net):
    return [module for module in net.modules() if isinstance(module, GuidedStep)]


@DIMS
@pytest.mark.parametrize("name", NETS)
def test_same_output_in_every_known_network(name, dims):
    """Transposed convolutions, interpolation and whole blocks; sizes as in the original network."""
    net, image = make(name, dims)
    image = torch.randn(2, 1, *[max(16, n // 32 * 32) for n in image.shape[2:]])
    net.eval()
    with torch.no_grad():
        expected = logits(net, image)
        report = swap_upsampling(net, "resfu", start=START, embed_channels=8)
        assert len(report.swapped) >= 2 or name.startswith("UNet")
        torch.testing.assert_close(logits(net, image), expected)


@DIMS
@pytest.mark.parametrize("upsampler", LEARNED)
@pytest.mark.parametrize("old", ["deconv", "nontrainable"])
def test_same_output_for_every_method(upsampler, old, dims):
    """Also for odd sizes, where BasicUNet pads the enlarged map."""
    torch.manual_seed(0)
    net = nets.BasicUNet(dims, 1, 3, FEATURES, upsample=old).eval()
    image = torch.randn(1, 1, *[35, 32, 18][:dims])
    with torch.no_grad():
        expected = net(image)
        swap_upsampling(net, upsampler, start=START, **options(upsampler))
        torch.testing.assert_close(net(image), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "linear", "linear_aligned", "cubic", "transposed_conv", "carafe"])
def test_same_output_of_this_librarys_networks(mode):
    torch.manual_seed(0)
    net = TransUNet(64, 1, 3, mode, variant="tiny", image_guide=False).eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        expected = net(image)
        report = swap_upsampling(net, "freqfusion", start=START, compressed_channels=16)
        assert len(report.swapped) == 3
        torch.testing.assert_close(net(image), expected)


def test_same_output_of_a_pyramid():
    torch.manual_seed(0)
    net = FeaturePyramidNetwork(2, [8, 12, 16], 16)
    maps = OrderedDict((str(n), torch.randn(1, c, s, s)) for n, (c, s) in enumerate(((8, 13), (12, 7), (16, 4))))
    expected = net(maps)
    swap_upsampling(net, "freqfusion", start=START, compressed_channels=16)
    for name, value in net(maps).items():
        torch.testing.assert_close(value, expected[name])


def test_share_of_one_is_the_published_upsampler():
    torch.manual_seed(0)
    net = nets.BasicUNet(2, 1, 3, FEATURES, upsample="nontrainable").eval()
    swap_upsampling(net, "freqfusion", start=START, compressed_channels=16)
    published = copy.deepcopy(net)
    for step in steps_of(published):
        step.start = None
    for step in steps_of(net):
        nn.init.ones_(step.start.share)
        nn.init.ones_(step.start.guide_share)
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(image), published(image))


def test_class_computing_step_is_kept():
    net = nets.UNet(2, 1, 3, (8, 16, 32), (2, 2))
    report = swap_upsampling(net, "resfu", start=START)
    assert [str(kept) for kept in report.kept] == [
        "model.2.conv: transposed convolution kept because its transposed convolution computes the classes, so that "
        "the new upsampler cannot start from it"
    ]


def test_swapping_a_start_again():
    """A start is removed by a published start; another start cannot build on it."""
    net = nets.BasicUNet(2, 1, 3, FEATURES)
    swap_upsampling(net, "carafe", start=START)
    with pytest.raises(ValueError, match="it has a start from an earlier swap"):
        swap_upsampling(net, "resfu", start=START)
    swap_upsampling(net, "resfu")
    assert all(step.start is None for step in steps_of(net))
    with pytest.raises(ValueError, match="start must be 'published' or 'interpolation', got 'linear'"):
        swap_upsampling(net, "resfu", start="linear")


def discs(count, generator):
    """Images of a large and a small bright disc in noise, and their labels."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    images, labels = [], []
    for _ in range(count):
        label = torch.zeros(32, 32)
        for organ, radius in ((1, 7), (2, 3)):
            row, column = 8 + 16 * torch.rand(2, generator=generator)
            label[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = organ
        images.append(label / 2 + 0.2 * torch.randn(32, 32, generator=generator))
        labels.append(label)
    return torch.stack(images)[:, None], torch.stack(labels)[:, None]


def fit(net, steps, rate, seed):
    generator = torch.Generator().manual_seed(seed)
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    optimizer = torch.optim.AdamW(net.parameters(), rate)
    net.train()
    for _ in range(steps):
        image, label = discs(8, generator)
        optimizer.zero_grad()
        loss(net(image), label).backward()
        optimizer.step()


def mean_dice(net):
    image, label = discs(32, torch.Generator().manual_seed(99))
    with torch.no_grad():
        predicted = net.eval()(image).argmax(1).numpy()
    truth = label[:, 0].numpy()
    return sum(dice(predicted == organ, truth == organ) for organ in (1, 2)) / 2


@pytest.mark.parametrize("upsampler", ["resfu", "freqfusion", "dysample"])
def test_trained_network_keeps_its_dice_and_learns_on(upsampler):
    """Equal at first; after the same fine-tuning, not worse than without the swap. All layers take part."""
    torch.manual_seed(0)
    net = nets.BasicUNet(2, 1, 3, (8, 8, 16, 16, 16, 8), upsample="nontrainable")
    fit(net, 60, 3e-3, 1)
    before = mean_dice(net)
    assert 0.6 < before < 0.99
    swapped = copy.deepcopy(net)
    swap_upsampling(swapped, upsampler, start=START, **options(upsampler))
    assert mean_dice(swapped) == pytest.approx(before, abs=1e-6)
    for tuned in (net, swapped):
        fit(tuned, 60, 1e-3, 2)
    assert mean_dice(swapped) > max(before, mean_dice(net) - 0.01)
    moved = [p.abs().max() for step in steps_of(swapped) for p in step.start.parameters()]
    assert min(moved) > 0
