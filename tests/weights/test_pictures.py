"""Published weights of networks for pictures, from the libraries' own files."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from medups.networks.pictures import SegFormer, Segmenter, SegNeXt
from medups.networks.pictures.libraries import library
from medups.weights import load_published

HEAD = (
    ("squeeze.0", "squeeze.conv"), ("squeeze.1", "squeeze.gn"), ("align.0", "align.conv"), ("align.1", "align.gn"),
    ("ham_in", "ham_in.conv"), ("ham_out.0", "ham_out.conv"), ("ham_out.1", "ham_out.gn"), ("classify", "conv_seg"),
)  # fmt: skip


def classifier():
    transformers = library("transformers")
    config = transformers.SegformerConfig(
        hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 5, 8], sr_ratios=[8, 4, 2, 1],
        mlp_ratios=[4, 4, 4, 4], num_labels=7,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.SegformerForImageClassification(config).eval()


def randomized(net):
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.5, 1.5) if name.endswith("var") else nn.init.normal_(value, std=0.2)
    return net


def same_maps(net, other, image):
    ours = net.encoder(image, output_hidden_states=True).hidden_states
    for a, b in zip(ours, other(image, output_hidden_states=True).hidden_states, strict=True):
        torch.testing.assert_close(a, b)


def test_mit_from_a_file_of_transformers(tmp_path):
    """The file that ``save_pretrained`` writes, and the names of versions before 5."""
    source = classifier()
    source.save_pretrained(tmp_path)
    image = torch.randn(1, 3, 64, 96)
    network = SegFormer(5, "tiny").eval()
    report = load_published(network, tmp_path / "model.safetensors", layout="segformer-imagenet")
    assert all(name.startswith("head.") for name in report.initial)
    assert not report.unused
    with torch.no_grad():
        same_maps(network, source.segformer, image)
    old = {}
    for name, value in source.state_dict().items():
        for new, before in (
            (r"stages\.(\d)\.patch_embeddings", r"encoder.patch_embeddings.\1"),
            (r"stages\.(\d)\.blocks", r"encoder.block.\1"),
            (r"stages\.(\d)\.layer_norm", r"encoder.layer_norm.\1"),
            ("q_proj", "self.query"), ("k_proj", "self.key"), ("v_proj", "self.value"), ("o_proj", "output.dense"),
            (r"sequence_reduction\.sequence_reduction", "self.sr"),
            (r"sequence_reduction\.layer_norm", "self.layer_norm"),
            ("mlp.fc", "mlp.dense"), ("layernorm_before", "layer_norm_1"), ("layernorm_after", "layer_norm_2"),
        ):  # fmt: skip
            name = re.sub(new, before, name)
        old[name] = value
    again = SegFormer(5, "tiny").eval()
    load_published(again, old, layout="segformer-imagenet")
    with torch.no_grad():
        same_maps(again, source.segformer, image)


def as_mmseg(network):
    """The names and layouts of mmsegmentation for the weights of a SegFormer with ReSFU."""
    state = network.state_dict()
    published = {}
    for name, value in state.items():
        if match := re.match(r"encoder\.stages\.(\d)\.(.*)", name):
            stage, rest = match.groups()
            rest = rest.replace("patch_embeddings.proj", "0.projection").replace(
                "patch_embeddings.layer_norm", "0.norm"
            )
            rest = re.sub(r"^blocks", "1", re.sub(r"^layer_norm", "2", rest))
            if re.search(r"attention\.[kv]_proj", rest):
                continue
            if "attention.q_proj" in rest:
                value = torch.cat([state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
                rest = rest.replace("attention.q_proj.", "attn.attn.in_proj_")
            for ours, theirs in (
                ("attention.o_proj", "attn.attn.out_proj"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
                ("attention.sequence_reduction.sequence_reduction", "attn.sr"),
                ("attention.sequence_reduction.layer_norm", "attn.norm"), ("mlp.fc1", "ffn.layers.0"),
                ("mlp.dwconv.dwconv", "ffn.layers.1"), ("mlp.fc2", "ffn.layers.4"),
            ):  # fmt: skip
                rest = rest.replace(ours, theirs)
            if re.search(r"ffn\.layers\.[04]\.weight", rest):
                value = value[..., None, None]
            published[f"backbone.layers.{stage}.{rest}"] = value
            continue
        rest = name.removeprefix("head.")
        for ours, theirs in (
            (r"^projections\.(\d)\.0", r"convs.\1.conv"), (r"^projections\.(\d)\.1", r"convs.\1.bn"),
            (r"^fuse\.0", "fusion_conv.conv"), (r"^fuse\.1", "fusion_conv.bn"), ("^classify", "conv_seg"),
            (r"^upsampling\.upsamplers", "upsample_modules"), ("query_norm", "norm_y"), ("key_norm", "norm_x"),
            (r"\.query\.", ".q."), (r"\.key\.", ".k."), (r"\.(semantic|detail)\.", r".\1_scores."),
            (r"_scores\.mix_norm", "_scores.channel_compressor.3"), (r"_scores\.mix", "_scores.channel_compressor.1"),
            (r"_scores\.logits", "_scores.channel_compressor.4"),
        ):  # fmt: skip
            rest = re.sub(ours, theirs, rest)
        published[f"decode_head.{rest}"] = value
    return published


def test_a_complete_segformer_of_mmsegmentation_with_resfu():
    torch.manual_seed(0)
    source = randomized(SegFormer(5, "tiny", "resfu", width=32)).eval()
    network = SegFormer(5, "tiny", "resfu", width=32).eval()
    report = load_published(network, {"state_dict": as_mmseg(source)}, layout="segformer")
    assert not report.unused
    assert all(name.endswith("num_batches_tracked") for name in report.initial)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(image), source(image))


def test_a_complete_segnext_of_mmsegmentation_with_freqfusion():
    options = {"compressed_channels": 16, "offset_features": "similarity"}
    torch.manual_seed(0)
    source = randomized(SegNeXt(5, "tiny", "freqfusion", options, placement="fusion")).eval()
    published = {f"backbone.{name}": value for name, value in source.encoder.state_dict().items()}
    for name, value in source.head.state_dict().items():
        if name.startswith("upsampling."):
            for ours, theirs in (
                ("upsampling.upsamplers", "freqfusions"), ("compress_guide", "hr_channel_compressor"),
                (".compress.", ".lr_channel_compressor."), ("lowpass", "content_encoder"),
                ("highpass", "content_encoder2"), ("offsets.offset_guide", "dysampler.hr_offset"),
                ("offsets.scope_guide", "dysampler.hr_direct_scale"), ("offsets.norm_guide", "dysampler.norm_hr"),
                ("offsets.norm.", "dysampler.norm_lr."), ("offsets.offset.", "dysampler.offset."),
                ("offsets.scope.", "dysampler.direct_scale."),
            ):  # fmt: skip
                name = name.replace(ours, theirs)
        else:
            for ours, theirs in HEAD:
                name = name.replace(ours, theirs)
        published[f"decode_head.{name}"] = value
    published["decode_head.freqfusions.0.dysampler.init_pos"] = torch.zeros(1)
    network = SegNeXt(5, "tiny", "freqfusion", options, placement="fusion").eval()
    load_published(network, published, layout="segnext")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(image), source(image))


@pytest.mark.parametrize("naming", [".mlp.dwconv.", ".mlp.dwconv.dwconv."])
def test_segnext_in_both_namings(naming):
    torch.manual_seed(0)
    source = randomized(SegNeXt(5, "tiny")).eval()
    published = {"head.weight": torch.zeros(1000, 64)}
    for name, value in source.encoder.state_dict().items():
        published[name.replace(".mlp.dwconv.", naming)] = value
    network = SegNeXt(5, "tiny").eval()
    report = load_published(network, published, layout="mscan-imagenet")
    assert all(name.startswith("head.") for name in report.initial)
    complete = {f"backbone.{name}": value for name, value in published.items() if name != "head.weight"}
    for name, value in source.head.state_dict().items():
        for ours, theirs in HEAD:
            name = name.replace(ours, theirs)
        complete[f"decode_head.{name}"] = value
    load_published(network, complete, layout="segnext")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(image), source(image))


def test_vit_of_timm_at_another_size(tmp_path):
    """Positions are resized as timm resizes them."""
    library("timm")
    from timm.layers import resample_abs_pos_embed
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    sizes = {"patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 2}
    source = VisionTransformer(img_size=224, num_classes=10, **sizes)
    torch.save(source.state_dict(), tmp_path / "vit.pth")
    network = Segmenter(5, "tiny", 96).eval()
    report = load_published(network, tmp_path / "vit.pth", layout="vit-timm")
    assert report.resized == ["encoder.pos_embed"]
    expected = resample_abs_pos_embed(source.pos_embed, [6, 6])
    torch.testing.assert_close(network.encoder.pos_embed, expected)
    same = Segmenter(5, "tiny", 224).eval()
    load_published(same, tmp_path / "vit.pth", layout="vit-timm")
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(same.encoder.forward_features(image), source.eval().forward_features(image))


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not a header")
    with pytest.raises(ValueError, match=r"model\.safetensors: expected a readable checkpoint"):
        load_published(SegFormer(5, "tiny"), path, layout="segformer-imagenet")
