"""Detectors: their operators against torchvision's formulas, sizes against torchvision's, every upsampler."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medups.data.labels import LabelSet
from medups.data.pictures.objects import Objects
from medups.inference import ObjectInferer, SegmentInferer
from medups.networks import swap_upsampling
from medups.networks.pictures import RCNN
from medups.networks.pictures.libraries import library
from medups.networks.pictures.rcnn import SemanticHead, _semantic_loss
from medups.networks.pictures.region_operators import nms, roi_align
from medups.upsamplers import list_upsamplers
from medups.weights import load_published

library("torchvision")
boxes_of = importlib.import_module("torchvision.ops.boxes")
LABELS = LabelSet("animals", {2: "grass", 5: "cat", 8: "dog"}, frozenset({0}), frozenset({2}))


def boxes(count, size, seed=0):
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * size
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("scale", "samples", "bins"), [(0.25, 2, (7, 5)), (1.0, -1, (3, 2)), (1.0, 1, (4, 4))])
def test_roi_align_is_torchvisions_formula(aligned, scale, samples, bins):
    """For boxes inside the picture; torchvision's Python version does not treat others as its kernels do."""
    formula = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__
    x = torch.randn(2, 5, 13, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rois = torch.cat([torch.tensor([[0.0], [1.0]] * 10, dtype=torch.float64), 1 + boxes(20, 11) / scale], 1)
    ours = roi_align(x, rois, scale, *bins, samples, aligned)
    torch.testing.assert_close(ours, formula(x, rois, scale, *bins, samples, aligned), rtol=1e-5, atol=1e-5)


def test_roi_align_is_zero_outside():
    x = torch.ones(1, 1, 4, 4)
    rois = torch.tensor([[0.0, 6.0, 6.0, 9.0, 9.0], [0.0, -9.0, -9.0, -6.0, -6.0]])
    assert roi_align(x, rois, 1.0, 2, 2, 2, False).abs().max() == 0


def test_nms_against_all_pairs():
    """A box stays exactly if no better box that stays overlaps it."""
    found, scores = boxes(60, 30, seed=1), torch.rand(60, generator=torch.Generator().manual_seed(2))
    overlap = boxes_of.box_iou(found, found)
    kept: list[int] = []
    for number in scores.argsort(descending=True).tolist():
        if all(overlap[number, other] <= 0.4 for other in kept):
            kept.append(number)
    assert nms(found, scores, 0.4).tolist() == kept
    assert nms(found[:0], scores[:0], 0.4).tolist() == []


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("masks", "published"), [(False, 41_755_286), (True, 44_401_393)])
def test_sizes_are_those_of_torchvisions_models(masks, published):
    """With COCO's 90 numbers, as torchvision states for its weights."""
    assert parameters(RCNN(90, masks=masks)) == published


def test_the_heads_of_a_panoptic_fpn():
    """1, 1, 2 and 3 blocks of a 3x3 convolution and a norm, and a 1x1 convolution to 53 classes and one for things."""
    blocks = 4 * (256 * 128 * 9 + 2 * 128) + 3 * (128 * 128 * 9 + 2 * 128)
    assert parameters(SemanticHead(256, 54)) == blocks + 128 * 54 + 54
    assert parameters(RCNN(80, stuff=53)) - parameters(RCNN(80)) == blocks + 128 * 54 + 54


def tiny(**options):
    torch.manual_seed(0)
    return RCNN(2, "tiny", **{"stuff": 1, "width": 16, "short": 64, "long": 128, "smallest": 8, **options})


def batch():
    generator = torch.Generator().manual_seed(3)
    images = [torch.randn(3, 48, 64, generator=generator), torch.randn(3, 40, 56, generator=generator)]
    targets = []
    for image in images:
        masks = torch.zeros(2, *image.shape[1:], dtype=torch.uint8)
        masks[0, 4:20, 6:30] = 1
        masks[1, 20:38, 30:50] = 1
        semantic = torch.where(masks.bool().any(0), 1, 0).to(torch.uint8)
        found = torch.tensor([[6.0, 4, 30, 20], [30, 20, 50, 38]])
        targets.append({"boxes": found, "labels": torch.tensor([1, 2]), "masks": masks, "semantic": semantic})
    return {"images": images, "targets": targets}


@pytest.mark.parametrize("upsampler", list_upsamplers())
def test_every_upsampler_learns_and_predicts(upsampler):
    """Every parameter of the pyramid's steps has a gradient; predictions have the pictures' own sizes."""
    network = tiny()
    options = {"dysample": {"groups": 2}, "freqfusion": {"compressed_channels": 16}}.get(upsampler, {})
    report = swap_upsampling(network, upsampler, only="detector.backbone*", **options)
    assert [swap.path for swap in report.swapped] == [f"detector.backbone.fpn.steps.{number}" for number in range(3)]
    losses = network.train()(batch())
    assert set(losses) == {
        "loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask", "semantic",
    }  # fmt: skip
    sum(losses.values()).backward()
    steps = network.detector.backbone.fpn.steps
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in steps.parameters())
    with torch.no_grad():
        first, second = network.eval()({"images": batch()["images"]})
    assert first["masks"].shape[2:] == first["semantic"].shape[1:] == (48, 64)
    assert second["masks"].shape[2:] == second["semantic"].shape[1:] == (40, 56)
    assert (first["boxes"] >= 0).all()
    assert (first["scores"].diff() <= 0).all()


def test_boxes_are_not_rounded_in_half_precision():
    network = tiny().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network({"images": [torch.randn(3, 80, 120, generator=torch.Generator().manual_seed(4))]})[0]
    assert {found[name].dtype for name in ("boxes", "scores", "masks", "semantic")} == {torch.float32}
    assert (found["boxes"] % 1 > 0).float().mean() > 0.5


def test_a_picture_without_objects_trains():
    network, content = tiny(), batch()
    content["targets"][0] = {
        "boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 48, 64, dtype=torch.uint8), "semantic": content["targets"][0]["semantic"],
    }  # fmt: skip
    assert all(torch.isfinite(loss) for loss in network.train()(content).values())


def test_the_background_is_learned_where_it_is():
    """Logits that repeat the target have a loss of nearly 0, with padding, ignored pixels and a resized picture."""
    semantic = torch.zeros(32, 48, dtype=torch.uint8)
    semantic[:16, 8:24] = 1
    semantic[24:] = 255

    class Resized:
        tensors = torch.zeros(1, 3, 64, 96)
        image_sizes = ((64, 96),)

    known = torch.where(semantic == 255, 0, semantic).long()
    logits = 20 * F.one_hot(known, 2).movedim(-1, 0)[None, :, ::2, ::2].float()
    assert _semantic_loss(logits, [{"semantic": semantic}], Resized) < 1e-6
    assert _semantic_loss(-logits, [{"semantic": semantic}], Resized) > 10
    padded = Resized()
    padded.tensors, padded.image_sizes = torch.zeros(1, 3, 64, 128), ((64, 96),)
    wide = torch.cat([logits, -logits[..., :8]], -1)
    assert _semantic_loss(wide, [{"semantic": semantic}], padded) < 1e-6


def test_segments_are_combined_by_hand():
    """The better object is in front; one that is mostly covered, and small background, are left out."""
    masks = np.zeros((3, 4, 6), bool)
    masks[0, :2, :3] = masks[1, :3, 1:4] = masks[2, :2, :2] = True
    objects = Objects(np.array([5, 8, 8]), np.zeros((3, 4)), masks, np.zeros(3, bool), np.array([0.9, 0.8, 0.7]))
    background = np.ones((4, 6), int)
    background[3] = 0
    found = SegmentInferer(least_stuff=6).combined(objects, background, LABELS)
    assert found.numbers.tolist() == [[1, 1, 1, 2, 0, 0], [1, 1, 1, 2, 0, 0], [0, 2, 2, 2, 0, 0], [3] * 6]
    assert found.ids == {1: 5, 2: 8, 3: 2}
    assert found.scores == {1: 0.9, 2: 0.8}
    assert 3 not in SegmentInferer(least_stuff=7).combined(objects, background, LABELS).ids


def test_objects_have_the_label_sets_ids():
    def network(content):
        assert content["images"][0].shape == (3, 5, 6)
        masks = torch.tensor([0.9, 0.1])[:, None, None, None].expand(2, 1, 5, 6)
        return [{"boxes": torch.ones(2, 4), "labels": torch.tensor([2, 1]), "scores": torch.tensor([0.8, 0.01]),
                 "masks": masks}]  # fmt: skip

    found = ObjectInferer(0.05)(torch.zeros(3, 5, 6), network, LABELS)
    assert found.ids.tolist() == [8]
    assert found.masks.all()
    assert ObjectInferer(0)(torch.zeros(3, 5, 6), network, LABELS).ids.tolist() == [8, 5]


def test_weights_of_torchvision():
    """An ImageNet ResNet fills the encoder, and a detector of torchvision everything but the upsampling."""
    models = library("torchvision.models")
    torch.manual_seed(0)
    encoder = models.resnet50()
    network = RCNN(90)
    swap_upsampling(network, "resfu", only="detector.backbone*", embed_channels=8)
    report = load_published(network, encoder.state_dict(), layout="resnet-torchvision")
    body = network.detector.backbone.body
    torch.testing.assert_close(body.layer4[0].conv2.weight, encoder.layer4[0].conv2.weight)
    torch.testing.assert_close(body.bn1.running_var, encoder.bn1.running_var)
    assert not report.unused
    assert not any(name.startswith("detector.backbone.body.") for name in report.initial)
    detector = library("torchvision.models.detection").maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    old = {
        re.sub(r"(blocks\.\d|rpn\.head\.conv)(\.0)+\.", r"\1.", name): value
        for name, value in detector.state_dict().items()
    }
    old = {
        re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", name): v
        for name, v in old.items()
    }
    assert "backbone.fpn.inner_blocks.0.weight" in old
    load_published(network, old, layout="rcnn-torchvision")  # the names in the files to download
    report = load_published(network, detector.state_dict(), layout="rcnn-torchvision")
    assert all(".fpn.steps." in name for name in report.initial)
    torch.testing.assert_close(network.detector.rpn.head.cls_logits.bias, detector.rpn.head.cls_logits.bias)
