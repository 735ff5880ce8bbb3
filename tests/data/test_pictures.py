"""Pictures, masks and their folders: what is read, and what is refused."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from medups.data.formats.pictures import picture_files
from medups.data.labels import LabelSet, label_set, list_class_sets
from medups.data.pictures import IGNORED, read_mask, read_picture, run_lengths, to_channels, to_ids
from medups.data.pictures.transforms import RandPhotometricd, RandScaleCropd
from medups.data.scenes import make_scene, write_scenes
from medups.errors import InputError

LABELS = LabelSet("three", {1: "a", 2: "b", 7: "c"}, frozenset({0, 255}))
GRADIENT = np.dstack([np.tile(np.arange(12, dtype=np.uint8) * 20, (8, 1))] * 3)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_channels_and_ids():
    ids = np.array([[0, 1, 2, 7, 255]], dtype=np.uint8)
    channels = to_channels(ids, LABELS)
    assert channels.tolist() == [[IGNORED, 0, 1, 2, IGNORED]]
    assert to_ids(channels[:, 1:4], LABELS).tolist() == [[1, 2, 7]]
    voc = label_set("voc")
    assert list(voc.channels) == list(range(21))
    assert to_channels(np.array([0, 20, 255], dtype=np.uint8), voc).tolist() == [0, 20, IGNORED]
    assert len(label_set("ade20k").channels) == 150
    assert list_class_sets() == ["ade20k", "coco_objects", "coco_panoptic", "scene_objects", "scenes", "voc"]


def test_other_kinds_of_pictures_are_converted(tmp_path):
    gray = GRADIENT[..., 0]
    assert (read_picture(saved(tmp_path / "gray.png", gray)) == GRADIENT).all()
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    assert (read_picture(tmp_path / "deep.png") == GRADIENT).all()
    palette = Image.fromarray(GRADIENT).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    palette.save(tmp_path / "palette.png")
    assert np.abs(read_picture(tmp_path / "palette.png").astype(int) - GRADIENT).max() <= 8
    Image.fromarray(GRADIENT).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    assert np.abs(read_picture(tmp_path / "cmyk.jpg").astype(int) - GRADIENT).max() <= 12
    clear = np.dstack([GRADIENT, np.full((8, 12), 255, np.uint8)])
    assert (read_picture(saved(tmp_path / "clear.png", clear)) == GRADIENT).all()


def test_a_turned_picture_is_turned_back_and_its_mask_must_fit(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # the camera was held on its side
    path = saved(tmp_path / "turned.png", GRADIENT, exif=exif)
    assert (read_picture(path) == np.rot90(GRADIENT, -1)).all()
    mask = saved(tmp_path / "mask.png", np.ones((8, 12), np.uint8))
    with pytest.raises(InputError, match="turned by its EXIF"):
        read_mask(mask, LABELS, read_picture(path).shape[:2])


def test_masks_with_palettes_and_16_bits(tmp_path):
    ids = np.array([[1, 2], [7, 255]], dtype=np.uint8)
    palette = Image.fromarray(ids, "P")
    palette.putpalette([number for color in range(256) for number in (color, 0, 255 - color)])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(ids.astype(np.uint16)).save(tmp_path / "deep.png")
    for name in ("palette.png", "deep.png"):
        assert (read_mask(tmp_path / name, LABELS) == ids).all()


def bomb():
    """A PNG of 300 bytes that promises 40,000 x 40,000 pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def truncated():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()[:5000]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "damaged or other"), (b"\x89PNG\r\n", "damaged or other"), (b"GIF89a" + bytes(99), "damaged or other"),
     (truncated(), "damaged or other"), (bomb(), "more than 134,217,728 pixels")],
    ids=["empty", "cut header", "another format", "truncated", "bomb"],
)  # fmt: skip
def test_damaged_pictures_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    for read in (read_picture, lambda path: read_mask(path, LABELS)):
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_wrong_masks_are_refused(tmp_path):
    with pytest.raises(InputError, match="one number per pixel, found a picture of mode RGB"):
        read_mask(saved(tmp_path / "colors.png", GRADIENT), LABELS)
    with pytest.raises(InputError, match=r"label ids \[3, 9\] are not in the set 'three'"):
        read_mask(saved(tmp_path / "ids.png", np.array([[1, 3, 9]], np.uint8)), LABELS)
    with pytest.raises(InputError, match="the mask has 12 x 8 pixels, its picture 12 x 9"):
        read_mask(saved(tmp_path / "size.png", np.ones((8, 12), np.uint8)), LABELS, (9, 12))


def test_folders_of_pictures(tmp_path):
    for name in ("a/x.png", "a/y.JPG", "b/x.png", ".hidden/z.png", "a/._x.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(picture_files(tmp_path)) == ["a/x", "a/y", "b/x"]
    (tmp_path / "a" / "x.jpg").touch()
    with pytest.raises(InputError, match="names the same picture"):
        picture_files(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        picture_files(tmp_path / "nowhere")


def sample(rng, shape=(40, 60)):
    label = rng.integers(0, 3, shape).astype(np.uint8)
    image = np.stack([label * 50.0, label * 30.0, label * 10.0]).astype(np.float32)
    return {"image": torch.from_numpy(image), "label": torch.from_numpy(label[None])}


def test_crops_keep_picture_and_mask_together(rng):
    """Without resizing, every pixel of the crop still has the colors of its class; the rest is filled and ignored."""
    crop = RandScaleCropd(["image", "label"], 48, (1.0, 1.0), None, None).set_random_state(0)
    for _ in range(10):
        out = crop(sample(rng))
        label = out["label"][0]
        known = label != IGNORED
        assert out["image"].shape == (3, 48, 48)
        assert int(known.sum()) == 40 * 48
        assert torch.equal(out["image"][0][known], 50.0 * label[known])
        assert torch.allclose(out["image"][:, ~known], torch.tensor([[123.675], [116.28], [103.53]]))


def test_crops_avoid_a_single_class():
    label = np.zeros((40, 80), np.uint8)
    label[:, 70:] = 1
    data = {"image": torch.zeros(3, 40, 80), "label": torch.from_numpy(label[None])}
    crop = RandScaleCropd(["image", "label"], 20, (1.0, 1.0), None, None, most=0.9).set_random_state(0)
    free = RandScaleCropd(["image", "label"], 20, (1.0, 1.0), None, None, most=1).set_random_state(0)
    mixed = sum(len(crop(data)["label"].unique()) == 2 for _ in range(50))
    unmixed = sum(len(free(data)["label"].unique()) == 2 for _ in range(50))
    assert mixed > 40 > 2 * unmixed


def test_scaling_reaches_the_asked_sides():
    data = {"image": torch.zeros(3, 100, 400), "label": torch.zeros(1, 100, 400, dtype=torch.uint8)}
    crop = RandScaleCropd(["image", "label"], 300, (1.0, 1.0), 200, 600)  # the longer side decides
    known = crop(data)["label"][0] != IGNORED
    assert (int(known.any(1).sum()), int(known.any(0).sum())) == (150, 300)


def test_colors_change_within_their_limits():
    change = RandPhotometricd(["image"]).set_random_state(0)
    gray = {"image": torch.full((3, 4, 4), 100.0)}
    results = [change(gray)["image"] for _ in range(200)]
    values = torch.stack([r[0, 0, 0] for r in results])
    assert all(torch.allclose(r, r[0, 0, 0].expand(3, 4, 4), atol=0.01) for r in results)  # gray stays gray
    assert values.min() >= (100 - 32) * 0.5 - 0.01
    assert values.max() <= (100 + 32) * 1.5 + 0.01
    assert 0.15 < (values == 100).float().mean() < 0.45  # neither brightness nor contrast: 3/8 x 3/4 x ... at random
    same = RandPhotometricd(["image"]).set_random_state(0)
    assert torch.equal(same(gray)["image"], results[0])


def test_scenes_repeat_and_agree_with_their_annotations(tmp_path):
    names = list(write_scenes(tmp_path, 3, 2, seed=1, height=48, width=64))
    assert names == ["0001", "0002", "0003", "0004", "0005"]
    first = make_scene(1, 4, 48, 64)
    stored = read_picture(tmp_path / "images" / "val" / "0004.png")
    assert (stored == first.picture).all()
    coco = json.loads((tmp_path / "annotations" / "instances_val.json").read_text())
    mask = read_mask(tmp_path / "labels" / "val" / "0004.png", label_set("scenes"))
    things = np.zeros(mask.shape, bool)
    for annotation in coco["annotations"]:
        if annotation["image_id"] != 4:
            continue
        inside = run_lengths.decode(annotation["segmentation"], mask.shape)
        assert (mask[inside] == annotation["category_id"]).all()
        assert inside.sum() == annotation["area"]
        left, top, width, height = map(int, annotation["bbox"])
        assert inside[top : top + height, left : left + width].sum() == annotation["area"]
        assert not (things & inside).any()
        things |= inside
    assert (things == (mask > 2)).all()
    panoptic = json.loads((tmp_path / "annotations" / "panoptic_val.json").read_text())
    colors = read_picture(tmp_path / "annotations" / "panoptic_val" / "0004.png").astype(int)
    keys = colors @ [1, 256, 65536]
    for segment in panoptic["annotations"][0]["segments_info"]:
        assert (mask[keys == segment["id"]] == segment["category_id"]).all()
        assert (keys == segment["id"]).sum() == segment["area"]
    assert set(np.unique(keys)) == {segment["id"] for segment in panoptic["annotations"][0]["segments_info"]}
