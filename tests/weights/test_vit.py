"""Loading Google's archive into TransUNet, and position embeddings at another size."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from medups.networks import TransUNet
from medups.weights import load_published


def normal(key, shape):
    return np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).standard_normal(shape)


def archive_value(key, shape, formula):
    """The ``npz_formula`` that the golden files' description defines."""
    if len(shape) == 4 and ("gn" in key):
        value = formula(key, (shape[3], 1, 1, 1)).transpose(2, 3, 1, 0)
        return value + 1 if key.endswith("scale") else value
    if len(shape) == 4:
        return formula(key, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
    if key.endswith("kernel"):
        return (normal(key, shape) / np.sqrt(3072 if "Dense_1" in key else 768)).astype(np.float32)
    return formula(key, shape) if len(shape) == 1 else (0.1 * normal(key, shape)).astype(np.float32)


@pytest.fixture
def archive(golden, formula, tmp_path):
    keys = json.loads(str(golden("transunet_google_npz_224")["keys"]))
    path = tmp_path / "R50+ViT-B_16.npz"
    np.savez(path, **{key: archive_value(key, shape, formula) for key, shape in keys})
    return path


def test_published_network(golden, archive):
    numbers = golden("transunet_google_npz_224")
    network = TransUNet().eval()
    load_published(network, golden("transunet_r50_vit_b16_224").formula_weights(), layout="transunet")
    report = load_published(network, archive, layout="transunet-imagenet21k")
    assert report.unused == report.resized == []
    assert all(name.startswith(("bridge.", "decoder.", "head.")) for name in report.initial)
    tokens = []
    network.transformer.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    image = np.random.RandomState(7).random_sample((1, 1, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        logits = network(torch.from_numpy(image)).numpy()
    expected = numbers["tokens_stride7"]
    assert np.abs(tokens[0][:, ::7, ::16].numpy() - expected).max() < 1e-4 * expected.std()
    assert np.abs(logits[:, :, ::8, ::8] - numbers["out_stride8"]).max() < 1e-4 * numbers["out_stride8"].std()


def test_positions_at_another_size(golden, archive):
    network = TransUNet(img_size=(288, 160))
    report = load_published(network, archive, layout="transunet-imagenet21k")
    assert report.resized == ["transformer.positions"]
    grid = np.load(archive)["Transformer/posembed_input/pos_embedding"][0, 1:].reshape(14, 14, 768)
    expected = zoom(grid, (18 / 14, 10 / 14, 1), order=1)
    np.testing.assert_allclose(network.transformer.positions[0].detach().numpy(), expected.reshape(-1, 768), atol=1e-5)


def test_positions_of_a_non_square_grid():
    positions = {"Transformer/posembed_input/pos_embedding": np.zeros((1, 16, 96), np.float32)}
    with pytest.raises(ValueError, match=r"\[1, N, C\] of a square grid, found \(1, 15, 96\)"):
        load_published(TransUNet(32, variant="tiny"), positions, layout="transunet-imagenet21k", strict=False)


def test_archive_with_a_missing_array(archive):
    with np.load(archive) as content:
        arrays = {name: content[name] for name in content.files if "block2/unit1/gn_proj" not in name}
    with pytest.raises(ValueError, match=r"missing: encoder\.stages\.1\.0\.shortcut\.1\.weight"):
        load_published(TransUNet(), arrays, layout="transunet-imagenet21k")


def test_archive_without_a_resnet(archive):
    """ViT-B_16.npz has the same names except for the patches, which are a convolution of the image."""
    with np.load(archive) as content:
        vit = {name: content[name] for name in content.files if name.startswith("Transformer/")}
    patches = np.random.RandomState(0).standard_normal((16, 16, 3, 768)).astype(np.float32)
    vit |= {"embedding/kernel": patches, "embedding/bias": np.arange(768, dtype=np.float32)}
    network = TransUNet(variant="vit_b16")
    report = load_published(network, vit, layout="transunet-imagenet21k")
    assert report.unused == report.resized == []
    assert all(name.startswith(("bridge.", "decoder.", "head.")) for name in report.initial)
    image = torch.randn(1, 3, 16, 16)
    expected = np.einsum("chw,hwcd->d", image[0].numpy(), patches) + np.arange(768)
    with torch.no_grad():
        np.testing.assert_allclose(network.patch_embedding(image)[0, :, 0, 0].numpy(), expected, rtol=1e-4, atol=1e-2)
