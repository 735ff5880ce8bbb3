"""Detectors with mmdetection's conventions, and its weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medups.networks import swap_upsampling
from medups.networks.pictures import RCNN
from medups.networks.pictures.libraries import library
from medups.networks.pictures.mmdetection import RegionPooling, anchors
from medups.weights import load_published

library("torchvision")
THINGS, STUFF, WIDTH = 3, 2, 16


def network(upsampler="freqfusion", seed=0, **options):
    torch.manual_seed(seed)
    net = RCNN(
        THINGS, "tiny", stuff=STUFF, width=WIDTH, short=64, long=128, conventions="mmdetection", fifth_level=True
    )
    swap_upsampling(net, upsampler, only="detector.backbone*", **options)
    return net.eval()


def test_anchors_by_hand():
    """Ratios of height to width of 1/2, 1 and 2 with an area of 32 x 32, not rounded."""
    found = anchors([32.0, 64.0])
    root = 2**0.5
    expected = torch.tensor([[-16 * root, -8 * root], [-16, -16], [-8 * root, -16 * root]])
    torch.testing.assert_close(found[0], torch.cat([expected, -expected], 1))
    torch.testing.assert_close(found[1], 2 * found[0])
    assert RCNN(1, "tiny", width=WIDTH).detector.rpn.anchor_generator.cell_anchors[0][0].tolist() == [-23, -11, 23, 11]
    own = network().detector.rpn.anchor_generator.cell_anchors
    torch.testing.assert_close(own[0], found[0])


def test_regions_of_a_ramp_are_the_centers_of_their_bins():
    """On maps whose pixels contain their own centers in the picture, a bin's feature is its center.

    Levels add a thousand times their number: boxes up to 111 pixels are on the first, then doubling.
    """
    maps = {}
    for level, stride in enumerate((4, 8, 16, 32)):
        place = (torch.arange(1024 // stride) + 0.5) * stride
        x = torch.stack(torch.meshgrid(place, place, indexing="ij")) + 10_000 * level
        maps[str(level)] = x[None].repeat(2, 1, 1, 1)
    maps["pool"] = torch.zeros(2, 2, 16, 16)
    sides = [30.0, 111.0, 113.0, 223.0, 225.0, 447.0, 449.0, 700.0]
    levels = [0, 0, 1, 1, 2, 2, 3, 3]
    boxes = torch.tensor([[101.0, 203.0, 101 + side, 203 + side] for side in sides])
    found = RegionPooling(7)(maps, [boxes[:3], boxes[3:]], [(1024, 1024)] * 2)
    for values, side, level in zip(found, sides, levels, strict=True):
        centers = (torch.arange(7) + 0.5) * side / 7
        torch.testing.assert_close(values[0] - 10_000 * level, (203 + centers)[:, None].expand(7, 7), rtol=0, atol=0.01)
        torch.testing.assert_close(values[1] - 10_000 * level, (101 + centers).expand(7, 7), rtol=0, atol=0.01)


def test_the_fifth_level_is_the_top_of_the_pyramid():
    net = network()
    image = torch.randn(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = net.detector.backbone(image)
        found = list(net.detector.backbone.body(image).values())
        fpn = net.detector.backbone.fpn
        lateral = [block[0](x) for block, x in zip(fpn.inner_blocks, found, strict=True)]
        assert lateral[4].shape[2:] == (1, 2)
        for level in (3, 2, 1, 0):
            enlarged, guide = fpn.steps[level].upsampler(lateral[level + 1], lateral[level])
            lateral[level] = guide + enlarged
        for ours, block, x in zip(maps.values(), fpn.layer_blocks, lateral, strict=True):
            torch.testing.assert_close(ours, block[0](x))


def published(upsampler):
    """Names and shapes of a panoptic FPN of mmdetection, with the encoder of the trial network."""
    shapes = {f"backbone.{name}": v.shape for name, v in network().detector.backbone.body.state_dict().items()}

    def layer(name, *shape):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    for level, width in enumerate((24, 48, 64, 96, 96)):
        layer(f"neck.lateral_convs.{level}.conv", WIDTH, width, *((3, 3) if level == 4 else (1, 1)))
        layer(f"neck.fpn_convs.{level}.conv", WIDTH, WIDTH, 3, 3)
    for level in range(4):
        if upsampler == "carafe":
            layer_of = f"neck.upsample_modules.{level}"
            shapes |= {f"{layer_of}.channel_compressor.weight": (64, WIDTH, 1, 1)}
            shapes |= {f"{layer_of}.channel_compressor.bias": (64,)}
            shapes |= {
                f"{layer_of}.content_encoder.weight": (100, 64, 3, 3),
                f"{layer_of}.content_encoder.bias": (100,),
            }
            continue
        step = f"neck.alignment.{level}"
        layer(f"{step}.hr_channel_compressor", 8, WIDTH, 1, 1)
        layer(f"{step}.lr_channel_compressor", 8, WIDTH, 1, 1)
        layer(f"{step}.content_encoder", 25, 8, 3, 3)
        layer(f"{step}.content_encoder2", 9, 8, 3, 3)
        for name in ("offset", "direct_scale"):
            layer(f"{step}.dysampler.{name}", 32, 16, 3, 3)
            layer(f"{step}.dysampler.hr_{name}", 8, 16, 3, 3)
        layer(f"{step}.dysampler.norm_hr", 8)
        layer(f"{step}.dysampler.norm_lr", 8)
        shapes |= {f"{step}.dysampler.init_pos": (1, 32, 1, 1), f"{step}.hamming_lowpass": (1, 1, 5, 5)}
        shapes |= {f"{step}.hamming_highpass": (1, 1, 3, 3)}
    layer("rpn_head.rpn_conv", WIDTH, WIDTH, 3, 3)
    layer("rpn_head.rpn_cls", 3, WIDTH, 1, 1)
    layer("rpn_head.rpn_reg", 12, WIDTH, 1, 1)
    layer("roi_head.bbox_head.shared_fcs.0", 4 * WIDTH, WIDTH * 49)
    layer("roi_head.bbox_head.shared_fcs.1", 4 * WIDTH, 4 * WIDTH)
    layer("roi_head.bbox_head.fc_cls", THINGS + 1, 4 * WIDTH)
    layer("roi_head.bbox_head.fc_reg", 4 * THINGS, 4 * WIDTH)
    for number in range(4):
        layer(f"roi_head.mask_head.convs.{number}.conv", WIDTH, WIDTH, 3, 3)
    layer("roi_head.mask_head.upsample", WIDTH, WIDTH, 2, 2)
    layer("roi_head.mask_head.conv_logits", THINGS, WIDTH, 1, 1)
    for level in range(4):
        for number in range(max(1, level)):
            name = f"semantic_head.conv_upsample_layers.{level}.convs.{number}"
            shapes[f"{name}.conv.weight"] = (WIDTH // 2, WIDTH if number == 0 else WIDTH // 2, 3, 3)
            layer(f"{name}.gn", WIDTH // 2)
    layer("semantic_head.conv_logits", STUFF + 1, WIDTH // 2, 1, 1)
    generator = torch.Generator().manual_seed(5)
    weights = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return weights | {"backbone.stem.2.num_batches_tracked": torch.tensor(7)}


@pytest.mark.parametrize("upsampler", ["freqfusion", "carafe"])
def test_weights_fill_every_parameter(upsampler):
    """Their background is the last class, and only objects have boxes and masks."""
    weights = published(upsampler)
    options = {"compressed_channels": 8} if upsampler == "freqfusion" else {}
    net = network(upsampler, **options)
    report = load_published(net, {"meta": {}, "state_dict": weights}, layout="rcnn-mmdetection")
    assert not report.initial
    assert not report.unused
    heads = net.detector.roi_heads
    with torch.no_grad():
        x = torch.randn(5, 4 * WIDTH, generator=torch.Generator().manual_seed(2))
        scores, deltas = heads.box_predictor(x)
        theirs = F.linear(x, weights["roi_head.bbox_head.fc_cls.weight"], weights["roi_head.bbox_head.fc_cls.bias"])
        torch.testing.assert_close(scores[:, 0], theirs[:, THINGS])
        torch.testing.assert_close(scores[:, 1:], theirs[:, :THINGS])
        theirs = F.linear(x, weights["roi_head.bbox_head.fc_reg.weight"], weights["roi_head.bbox_head.fc_reg.bias"])
        torch.testing.assert_close(deltas[:, 4:], theirs)
        x = torch.randn(2, WIDTH, 4, 4, generator=torch.Generator().manual_seed(3))
        name = "roi_head.mask_head.conv_logits"
        theirs = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        torch.testing.assert_close(heads.mask_predictor.mask_fcn_logits(x)[:, 1:], theirs)
    step = net.detector.backbone.fpn.steps[2].upsampler
    source = "neck.alignment.2.hr_channel_compressor" if upsampler == "freqfusion" else "neck.upsample_modules.2."
    first = step.compress_guide if upsampler == "freqfusion" else step.compress
    source = source if upsampler == "freqfusion" else f"{source}channel_compressor"
    torch.testing.assert_close(first.weight, weights[f"{source}.weight"])


def test_weights_of_a_detector_without_the_fifth_level_are_refused_with_names():
    weights = {name: v for name, v in published("freqfusion").items() if ".lateral_convs.4." not in name}
    with pytest.raises(ValueError, match=r"missing: detector\.backbone\.fpn\.inner_blocks\.4\.0\.weight"):
        load_published(network(compressed_channels=8), weights, layout="rcnn-mmdetection")


def test_it_learns_and_predicts():
    net = network(compressed_channels=8).train()
    image = torch.randn(3, 60, 100, generator=torch.Generator().manual_seed(1))
    masks = torch.zeros(1, 60, 100, dtype=torch.uint8)
    masks[0, 10:40, 20:60] = 1
    target = {"boxes": torch.tensor([[20.0, 10, 60, 40]]), "labels": torch.tensor([2]), "masks": masks,
              "semantic": torch.where(masks[0] > 0, STUFF, 0).to(torch.uint8)}  # fmt: skip
    losses = net({"images": [image], "targets": [target]})
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.detector.backbone.fpn.parameters())
    with torch.no_grad():
        found = net.eval()({"images": [image]})[0]
    assert found["semantic"].shape == (STUFF + 1, 60, 100)


def test_the_coarsest_anchors_are_64_pixels_apart():
    """torchvision divides the picture's size by the map's, which is 61 for 800 rows that are padded to 32."""
    net = RCNN(1, "tiny", width=WIDTH, short=800, long=1333, conventions="mmdetection").eval()
    images, _ = net.detector.transform([torch.zeros(3, 800, 1066)])
    with torch.no_grad():
        maps = list(net.detector.backbone(images.tensors).values())
    boxes = net.detector.rpn.anchor_generator(images, maps)[0][-3 * maps[-1].shape[2] * maps[-1].shape[3] :]
    centers = (boxes[::3, 1] + boxes[::3, 3]) / 2
    assert centers.unique().diff().round().unique().tolist() == [64]


def test_weights_need_their_conventions():
    net = RCNN(THINGS, "tiny", stuff=STUFF, width=WIDTH, fifth_level=True)
    swap_upsampling(net, "freqfusion", only="detector.backbone*", compressed_channels=8)
    with pytest.raises(ValueError, match=r"network\.module\.conventions=mmdetection"):
        load_published(net, published("freqfusion"), layout="rcnn-mmdetection")


def test_unknown_conventions():
    with pytest.raises(ValueError, match="unknown conventions 'detectron'; expected one of torchvision, mmdetection"):
        RCNN(1, "tiny", conventions="detectron")
