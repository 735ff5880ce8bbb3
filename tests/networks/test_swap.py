"""Swapped networks compared with the original ones."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from monai.networks import nets
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from torch import nn

from medups.networks import GuidedStep, swap_upsampling
from medups.networks.swap.added_skips import GuidedMedNeXt
from medups.networks.swap.site import set_class
from medups.upsamplers import Upsampled
from tests.networks.monai_nets import DIMS, FEATURES, NETS, idle, logits, make

EACH = pytest.mark.parametrize("name", NETS)


def options(upsampler):
    return {"compressed_channels": 16} if upsampler == "freqfusion" else {}


def divisible_image(image):
    """A random image whose size the original upsampling supports."""
    return torch.randn(2, 1, *[max(16, n // 32 * 32) for n in image.shape[2:]])


class Native(nn.Module):
    """The original upsampling layer behind the interface of an upsampler."""

    def __init__(self, old):
        super().__init__()
        self.old = old

    def forward(self, x, guide=None):
        return Upsampled(self.old(x), guide)


def step_at(net, path):
    """The step that replaced ``path``."""
    steps = {
        name.removesuffix(".step"): module for name, module in net.named_modules() if isinstance(module, GuidedStep)
    }
    return steps[max((name for name in steps if f"{path}.".startswith(f"{name}.")), key=len)]


@DIMS
@pytest.mark.parametrize("name", [name for name in NETS if name != "MedNeXt"])  # see test_mednext_runs_as_before
def test_only_the_upsampling_changes(name, dims):
    """With the original upsampling back in the swapped steps, the network computes its original output."""
    net, image = make(name, dims)
    net.eval()
    swapped = copy.deepcopy(net)
    only = "model.1.*" if name.startswith("UNet ") or name == "UNet" else "*"  # the outermost step of UNet differs
    report = swap_upsampling(swapped, "linear", only=only)
    assert report.swapped
    for swap in report.swapped:
        step = step_at(swapped, swap.path)
        step.upsampler = Native(net.get_submodule(swap.path))
        if swap.old == "transposed convolution":
            step.project = nn.Identity()  # the transposed convolution also projected
    image = divisible_image(image)
    with torch.no_grad():
        torch.testing.assert_close(logits(swapped, image), logits(net, image))


@pytest.mark.parametrize(
    ("net", "upsampler"),
    [
        (lambda d: nets.SegResNet(d, 8, 1, 3), "linear"),
        (lambda d: nets.BasicUNet(d, 1, 3, FEATURES, upsample="nontrainable"), "linear_aligned"),
        (lambda d: nets.FlexibleUNet(1, 3, "resnet10", False, (16, 16, 8, 8, 8), spatial_dims=d), "nearest"),
    ],
    ids=["SegResNet", "BasicUNet", "FlexibleUNet"],
)
@DIMS
def test_swap_to_the_original_interpolation(net, upsampler, dims):
    torch.manual_seed(0)
    net, image = net(dims).eval(), torch.randn(1, 1, *[32] * dims)
    with torch.no_grad():
        expected = net(image)
        swap_upsampling(net, upsampler)
        torch.testing.assert_close(net(image), expected)


@pytest.mark.parametrize("source", ["MONAI, 2-D", "MONAI, 3-D", "torchvision"])
def test_feature_pyramid(source):
    """Nearest is the original upsampling; FreqFusion's refined guide takes the lateral map's place in the sum."""
    torch.manual_seed(0)
    dims = 3 if "3-D" in source else 2
    if source == "torchvision":
        net = pytest.importorskip("torchvision").ops.FeaturePyramidNetwork([8, 12, 16], 16)
    else:
        net = FeaturePyramidNetwork(dims, [8, 12, 16], 16)
    maps = OrderedDict((str(n), torch.randn(1, c, *[s] * dims)) for n, (c, s) in enumerate(((8, 13), (12, 7), (16, 4))))
    expected = net(maps)
    report = swap_upsampling(net, "nearest")
    assert [swap.path for swap in report.swapped] == ["steps.0", "steps.1"]
    for name, value in net(maps).items():
        torch.testing.assert_close(value, expected[name])
    swap_upsampling(net, "freqfusion", compressed_channels=16)
    before = net(maps)["0"]
    nn.init.normal_(net.steps[0].upsampler.highpass.weight)
    assert (net(maps)["0"] - before).abs().max() > 1e-3
    assert not idle(_Sum(net), maps)


def test_mask_rcnn_with_another_pyramid():
    """torchvision's complete detector: every parameter of the new steps receives a gradient."""
    detection = pytest.importorskip("torchvision").models.detection
    torch.manual_seed(0)
    net = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)
    report = swap_upsampling(net, "resfu", embed_channels=8)
    assert [swap.path for swap in report.swapped] == [f"backbone.fpn.steps.{number}" for number in range(3)]
    maps = net.backbone(torch.randn(1, 3, 65, 97))
    assert {name: tuple(value.shape[2:]) for name, value in maps.items()}["0"] == (17, 25)
    sum(value.square().mean() for value in maps.values()).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.backbone.fpn.steps.parameters())


class _Sum(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, maps):
        return list(self.net(maps).values())


@pytest.mark.parametrize("deep_supervision", [False, True])
def test_mednext_runs_as_before(deep_supervision):
    """Its blocks upsample between other layers, so this compares the forward pass with no step swapped."""
    torch.manual_seed(0)
    net = nets.MedNeXt(2, 8, 1, 3, kernel_size=3, deep_supervision=deep_supervision)
    image = torch.randn(1, 1, 32, 32)
    expected = net(image)
    set_class(net, GuidedMedNeXt)
    for new, old in zip(net(image), expected, strict=True):
        torch.testing.assert_close(new, old)


@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.full)])
@EACH
@pytest.mark.parametrize(
    "upsampler", ["resfu", "freqfusion", *(pytest.param(up, marks=pytest.mark.full) for up in ("fade_lite", "carafe"))]
)
def test_every_parameter_learns(name, dims, upsampler):
    net, image = make(name, dims)
    before = idle(copy.deepcopy(net), divisible_image(image))
    swap_upsampling(net, upsampler, **options(upsampler))
    assert not idle(net, image) - before
    out = logits(net.eval(), image)
    assert out.shape[-dims:] == image.shape[2:]
    assert torch.isfinite(out).all()


@EACH
def test_original_weights_load_before_or_after_the_swap(name):
    """Both orders give the same network; only new layers are missing and only removed ones unexpected."""
    net, image = make(name, 2)
    weights = {
        key: value + 0.1 * torch.rand_like(value) if value.is_floating_point() else value
        for key, value in net.state_dict().items()
    }
    first, second = copy.deepcopy(net), copy.deepcopy(net)
    first.load_state_dict(weights)
    torch.manual_seed(1)
    swap_upsampling(first, "resfu")
    torch.manual_seed(1)
    report = swap_upsampling(second, "resfu")
    result = second.load_state_dict(weights, strict=False)
    assert all(
        any(part in key for part in (".upsampler.", ".project.", ".stem.", "norm.0.")) for key in result.missing_keys
    )
    removed = {id(p) for swap in report.swapped for p in net.get_submodule(swap.path).parameters()}
    parameters = net.named_parameters(remove_duplicate=False)
    assert set(result.unexpected_keys) == {key for key, parameter in parameters if id(parameter) in removed}
    with torch.no_grad():
        torch.testing.assert_close(logits(first.eval(), image), logits(second.eval(), image))


@EACH
def test_the_report_adds_up(name):
    net, _ = make(name, 2)
    before = sum(parameter.numel() for parameter in net.parameters())
    report = swap_upsampling(net, "resfu")
    difference = sum(swap.new_parameters - swap.old_parameters for swap in report.swapped)
    assert sum(parameter.numel() for parameter in net.parameters()) == before + difference
    assert len(str(report).splitlines()) == len(report.swapped) + len(report.kept)


@EACH
def test_copies(name):
    net, image = make(name, 2)
    swap_upsampling(net, "resfu")
    net.eval()
    with torch.no_grad():
        expected = logits(net, image)
        for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(logits(copied, image), expected)


def test_dry_run_changes_nothing():
    net, _ = make("UNet", 2)
    state, text, weights = torch.get_rng_state(), repr(net), copy.deepcopy(net.state_dict())
    report = swap_upsampling(net, "resfu", dry_run=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert repr(net) == text
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    assert [(swap.path, swap.channels, swap.guide_channels, swap.ratio) for swap in report.swapped] == [
        ("model.2.conv", 8, 16, (2, 2)),
        ("model.1.submodule.2.conv", 8, 8, (2, 2)),
    ]


def test_refined_guide_replaces_the_skip_one_level_out():
    net, image = make("UNet", 2)
    swap_upsampling(net.eval(), "freqfusion", only="model.1.*", compressed_channels=16)
    inner = net.model[1].submodule
    with torch.no_grad():
        before = net(image)
        nn.init.normal_(inner[2].upsampler.highpass.weight)
        guide = inner.refined(net.model[0](image)).guide
        joined = net.model[1](net.model[0](image))
    assert torch.equal(joined[:, : guide.shape[1]], guide)
    assert (net(image) - before).abs().max() > 1e-4


def test_steps_differ_in_ratio_by_axis():
    net = nets.DynUNet(3, 1, 2, [3] * 3, [1, (1, 2, 2), 2], [(1, 2, 2), 2], filters=[8, 8, 16])
    report = swap_upsampling(net, "resfu")
    assert [swap.ratio for swap in report.swapped] == [(2, 2, 2), (1, 2, 2)]
    assert logits(net.eval(), torch.randn(1, 1, 6, 20, 20)).shape == (1, 2, 6, 20, 20)
