"""Mask2Former as a network for pixels: its classes against transformers' own post-processing, its loss, its swap."""

from __future__ import annotations

import pytest
import torch

from medups.errors import InputError
from medups.networks import swap_upsampling
from medups.networks.pictures import Mask2Former, QueryLoss
from medups.networks.pictures.libraries import library
from medups.training.losses import PixelCrossEntropy
from medups.training.objective import objective

library("transformers")
CLASSES = 4


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Mask2Former(CLASSES, "tiny")


def test_classes_are_those_of_transformers(network):
    processor = library("transformers.models.mask2former.image_processing_mask2former").Mask2FormerImageProcessor
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        logits = network.eval()(image)
        output = network.network(pixel_values=image)
    assert logits.shape == (2, CLASSES, 16, 24)
    expected = processor().post_process_semantic_segmentation(output)
    enlarged = torch.nn.functional.interpolate(logits.exp(), (384, 384), mode="bilinear", align_corners=False)
    for ours, theirs in zip(enlarged.argmax(1), expected, strict=True):  # transformers enlarges the masks instead
        assert (ours == theirs).float().mean() > 0.95


def test_right_answers_have_the_lowest_loss():
    """Two queries with the right masks and classes, and a third that says nothing; other classes or masks cost more."""
    label = torch.zeros(1, 1, 64, 64, dtype=torch.long)
    label[..., 32:] = 2
    label[..., :2, :2] = 255  # in no mask
    masks = torch.where(torch.stack([label[0, 0] == 0, label[0, 0] == 2, label[0, 0] == 1]), 20.0, -20.0)[None]
    classes = torch.full((1, 3, CLASSES + 1), -10.0)
    for query, number in enumerate((0, 2, CLASSES)):
        classes[0, query, number] = 10
    torch.manual_seed(0)
    loss = QueryLoss(CLASSES, points=256)
    right = loss({"masks": masks, "classes": classes, "auxiliary": []}, label)
    wrong = loss({"masks": masks, "classes": classes.roll(1, 1), "auxiliary": []}, label)
    mirrored = loss({"masks": masks.flip(-1), "classes": classes, "auxiliary": []}, label)
    assert wrong > right + 5
    assert mirrored > right + 5


@pytest.mark.parametrize("upsampler", ["resfu", "freqfusion", "linear"])
def test_every_step_learns(network, upsampler):
    report = swap_upsampling(network, upsampler, **({"compressed_channels": 16} if upsampler == "freqfusion" else {}))
    assert [swap.path for swap in report.swapped] == ["network.model.pixel_level_module.decoder.steps.0"]
    label = torch.randint(0, CLASSES, (2, 1, 64, 96))
    output = network.train()(torch.randn(2, 3, 64, 96))
    value = objective(QueryLoss(CLASSES, points=128))(output, label)
    value.backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)  # as several processes need
    with pytest.raises(InputError, match="training=pictures_queries"):
        objective(PixelCrossEntropy())(output, label)
