"""load_published rejects mismatched weights and reports what it loaded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medups.networks import TransUNet
from medups.upsamplers import ReSFU
from medups.weights import load_published


@pytest.fixture
def published(golden):
    return golden("resfu_x2").weights()


@pytest.fixture
def module():
    return ReSFU(2, 24, 16)


def test_prefix_and_file(published, module, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {f"module.{k}": torch.tensor(v) for k, v in published.items()}}, path)
    report = load_published(module, path, layout="resfu")
    assert sorted(report.loaded) == sorted(module.state_dict())
    assert torch.equal(module.query.weight, torch.tensor(published["q.weight"]))


def test_weights_inside_a_complete_network(published, module):
    """As in an mmsegmentation checkpoint: the error lists the possible prefixes, and ``prefix`` selects one."""
    weights = {f"module.decode_head.ups.{n}.{k}": v + n for n in (0, 1) for k, v in published.items()}
    weights["module.backbone.conv.weight"] = published["q.weight"]
    with pytest.raises(ValueError, match=r"under decode_head\.ups\.0\., decode_head\.ups\.1\. \(pass one as prefix\)"):
        load_published(module, weights, layout="resfu")
    report = load_published(module, weights, layout="resfu", prefix="decode_head.ups.1.")
    assert report.unused == report.initial == []
    assert torch.equal(module.query.weight, torch.tensor(published["q.weight"] + 1))


def test_missing_and_unknown_names_are_listed(published, module):
    published["stranger.weight"] = published.pop("q.weight")
    with pytest.raises(ValueError, match=r"missing: query\.weight; unknown: stranger\.weight"):
        load_published(module, published, layout="resfu")
    report = load_published(module, published, layout="resfu", strict=False)
    assert report.initial == ["query.weight"]
    assert report.unused == ["stranger.weight"]


def test_shape_mismatch_loads_nothing(published):
    module = ReSFU(2, 8, 16)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"of another shape: .*key\.weight: file \(32, 24, 1, 1\)"):
        load_published(module, published, layout="resfu")
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_invalid_checkpoints(module, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="expected a readable checkpoint"):
        load_published(module, path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="expected names mapped to tensors"):
        load_published(module, path)
    torch.save({"net": {"a": torch.ones(1)}, 3: torch.ones(1)}, path)
    with pytest.raises(ValueError, match="expected names mapped to tensors, found something else under net, 3"):
        load_published(module, path)
    with pytest.raises(ValueError, match=r"the mapping: expected .* found something else under net"):
        load_published(module, {"net": {}})
    with pytest.raises(ValueError, match="unknown weight layout 'magic'"):
        load_published(module, {}, layout="magic")


@pytest.mark.parametrize("kind", ["pt", "npz"])
@pytest.mark.parametrize("damage", ["cut short", "cut late", "a flipped byte", "no file"])
def test_damaged_files(published, module, tmp_path, kind, damage):
    path = tmp_path / f"weights.{kind}"
    if kind == "pt":
        torch.save({name: torch.tensor(value) for name, value in published.items()}, path)
    else:
        np.savez(path, **published)
    content = bytearray(path.read_bytes())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    if damage == "a flipped byte":
        content[content.index(published["q.weight"].tobytes()) + 10] ^= 1
    path.write_bytes(content[: {"cut short": 1000, "cut late": -30}.get(damage)])
    if damage == "no file":
        path.unlink()
    with pytest.raises(ValueError, match=rf"weights.{kind}: expected a readable checkpoint of tensors, found"):
        load_published(module, path, layout="resfu")
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_legacy_torch_file_with_flipped_bits(published, module, tmp_path):
    path = tmp_path / "weights.pth"
    weights = {name: torch.tensor(value) for name, value in published.items()}
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert load_published(module, path, layout="resfu").loaded
    rejected = 0
    for position in range(0, 600, 4):
        path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        try:
            load_published(module, path, layout="resfu")
        except ValueError:  # the only error allowed
            rejected += 1
    assert rejected > 50


def test_head_for_another_number_of_classes_may_stay_fresh():
    """The suggested strict=False loads everything except the head."""
    published = {f"module.{name}": value for name, value in TransUNet(32, 1, 5, variant="tiny").state_dict().items()}
    network = TransUNet(32, 1, 9, variant="tiny")
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"only the number of classes differs: .*strict=false\) leaves head.weight, head.bias at their"
    ):
        load_published(network, published, layout="transunet")
    report = load_published(network, published, layout="transunet", strict=False)
    assert sorted(report.initial) == ["head.bias", "head.weight"]
    assert torch.equal(network.head.weight, fresh["head.weight"])
    assert not torch.equal(network.state_dict()["decoder.steps.0.fuse.0.0.weight"],
                           fresh["decoder.steps.0.fuse.0.0.weight"])  # fmt: skip
    del published["module.bridge.0.weight"]
    with pytest.raises(ValueError, match=r"missing: bridge\.0\.weight") as error:
        load_published(network, published, layout="transunet")
    assert "strict=False" not in str(error.value)
