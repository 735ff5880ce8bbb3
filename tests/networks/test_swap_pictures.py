"""Swapping the upsampling of networks for pictures: nothing else changes, and every method learns."""

from __future__ import annotations

import pytest
import torch

from medups.networks import swap_upsampling
from medups.networks.pictures.libraries import library


def smp(name, **options):
    return getattr(library("segmentation_models_pytorch"), name)("resnet18", encoder_weights=None, classes=3, **options)


def segformer():
    transformers = library("transformers")
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 20, 32], depths=[1, 1, 1, 1], num_labels=3, decoder_hidden_size=16,
        num_attention_heads=[1, 1, 1, 1],
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config)


def upernet():
    transformers = library("transformers")
    backbone = transformers.ConvNextConfig(
        hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = transformers.UperNetConfig(
        backbone_config=backbone, num_labels=3, hidden_size=16, use_auxiliary_head=False
    )
    return transformers.UperNetForSemanticSegmentation(config)


def maskformer_pyramid():
    library("transformers")
    from transformers.models.maskformer.modeling_maskformer import MaskFormerFPNModel

    class Pyramid(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fpn = MaskFormerFPNModel(32, [8, 16], feature_size=32)

        def forward(self, image):
            maps = [image[:, :1, ::s, ::s].repeat(1, c, 1, 1) for s, c in ((2, 8), (4, 16), (8, 32))]
            return self.fpn(maps)[-1]

    return Pyramid()


def mask2former():
    transformers = library("transformers")
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        dim_feedforward=32, encoder_layers=1, decoder_layers=2, num_attention_heads=4, num_queries=5, num_labels=3,
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config)


def lraspp():
    library("timm")  # declares torchvision's operators where they are missing
    import torchvision

    return torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)


# the network, its own interpolation, and its steps with and without a skip
NETS = {
    "smp Unet": (lambda: smp("Unet"), "nearest", 4, 1),
    "smp Unet, bilinear": (lambda: smp("Unet", decoder_interpolation="bilinear"), "linear", 4, 1),
    "smp Unet with attention": (lambda: smp("Unet", decoder_attention_type="scse"), "nearest", 4, 1),
    "smp Unet++": (lambda: smp("UnetPlusPlus"), "nearest", 10, 1),
    "smp MAnet": (lambda: smp("MAnet"), "nearest", 4, 1),
    "smp FPN": (lambda: smp("FPN"), "nearest", 3, 0),
    "transformers SegFormer": (segformer, "linear", 3, 0),
    "transformers UPerNet": (upernet, "linear", 6, 0),
    "transformers MaskFormer pyramid": (maskformer_pyramid, "nearest", 2, 0),
    "transformers Mask2Former": (mask2former, "linear", 1, 0),
    "torchvision LR-ASPP": (lraspp, "linear", 1, 0),
}


def output(net, image):
    out = net(image)
    if isinstance(out, torch.Tensor):
        return out
    if hasattr(out, "masks_queries_logits"):
        return out.masks_queries_logits
    return out.logits if hasattr(out, "logits") else out["out"]


@pytest.mark.parametrize("name", NETS)
def test_the_own_interpolation_changes_nothing(name):
    build, own, guided, unguided = NETS[name]
    torch.manual_seed(0)
    net, image = build().eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = output(net, image)
        report = swap_upsampling(net, own)
        assert len(report.swapped) == guided + unguided
        torch.testing.assert_close(output(net, image), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("upsampler", ["resfu", "freqfusion", "carafe", "dysample"])
@pytest.mark.parametrize("name", NETS)
def test_every_new_part_learns(name, upsampler):
    build, _, guided, unguided = NETS[name]
    torch.manual_seed(0)
    net, options = build(), {}
    needs_guide = upsampler in ("resfu", "freqfusion")
    if upsampler == "resfu":
        options = {"embed_channels": 8}
    report = swap_upsampling(net, upsampler, **options)
    assert len(report.swapped) == guided + (0 if needs_guide else unguided)
    assert len(report.kept) >= (unguided if needs_guide else 0)
    output(net, torch.randn(2, 3, 64, 96)).square().mean().backward()
    new = [swap.path.removesuffix(".upsampler") for swap in report.swapped]
    idle = [
        name
        for name, p in net.named_parameters()
        if any(name.startswith(f"{path}.") for path in new) and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    # the same constant for all taps, and a bias before a norm, change nothing; SegFormer's and LR-ASPP's heads and
    # UPerNet's last steps do not use the refined guide
    assert all(name.endswith("bias") or "highpass" in name for name in idle), idle


@pytest.mark.parametrize("name", NETS)
def test_a_trained_network_starts_as_it_was(name):
    torch.manual_seed(0)
    net, image = NETS[name][0]().eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = output(net, image)
        swap_upsampling(net, "resfu", start="interpolation", embed_channels=8)
        torch.testing.assert_close(output(net, image), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_networks_can_be_swapped_again(name):
    torch.manual_seed(0)
    build, own, guided, _ = NETS[name]
    net, image = build().eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = output(net, image)
        assert {swap.new for swap in swap_upsampling(net, "carafe").swapped} == {"carafe"}
        output(net, image)
        assert len(swap_upsampling(net, own).swapped) >= guided
        torch.testing.assert_close(output(net, image), expected, atol=1e-5, rtol=1e-4)


def test_old_checkpoints_still_load():
    """Swapping adds parameters and renames none."""
    net = smp("Unet")
    before = net.state_dict()
    swap_upsampling(net, "resfu", embed_channels=8)
    missing, unexpected = net.load_state_dict(before, strict=False)
    assert not unexpected
    assert all(".step." in name for name in missing)
