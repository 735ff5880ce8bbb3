"""COCO's annotations: run-length codes and polygons against COCO's own tools, files, and what is wrong with them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from medups.data.dataset import open_dataset
from medups.data.labels import LabelSet, label_set
from medups.data.pictures import run_lengths
from medups.data.pictures.coco import read_coco, read_objects, read_results, read_segments
from medups.data.pictures.coco_samples import object_layers, segment_layers
from medups.data.pictures.objects import Objects, Segments
from medups.data.scenes import write_scenes
from medups.errors import InputError

coco_mask = pytest.importorskip("faster_coco_eval").core.mask
MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(MASKS)
def test_codes_are_those_of_cocos_tools(mask):
    code = run_lengths.encode(mask)
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert code["counts"] == theirs["counts"].decode()
    assert code["size"] == list(theirs["size"])
    assert (run_lengths.decode(code, mask.shape) == mask).all()
    plain = {"size": list(mask.shape), "counts": run_lengths.from_text(code["counts"])}
    assert (run_lengths.decode(plain, mask.shape) == mask).all()


@given(st.lists(st.integers(0, 2**31), max_size=20))
def test_lengths_survive_their_text(counts):
    assert run_lengths.from_text(run_lengths.to_text(counts)) == counts


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [4, 3], "counts": [12]}, "size"),
        ({"size": [3, 4], "counts": [11]}, "add up to 11"),
        ({"size": [3, 4], "counts": [-1, 13]}, "0 or more"),
        ({"size": [3, 4], "counts": [6.0, 6]}, "whole numbers"),
        ({"size": [3, 4], "counts": "\x00"}, "characters"),
        ({"size": [3, 4], "counts": "o" * 40}, "without an end"),
        ({"size": [3, 4], "counts": "o"}, "within a number"),
        ([1, 2], "run-length code"),
    ],
)
def test_damaged_codes_are_refused(code, message):
    with pytest.raises(ValueError, match=message):
        run_lengths.decode(code, (3, 4))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    list(write_scenes(folder, 3, 2, seed=0, height=40, width=56))
    return folder


def settings(root, labels, source_labels):
    split = SimpleNamespace(train=None, val=None, test=None)
    return SimpleNamespace(
        format="coco", root=str(root), images="images", labels=labels, cases=[], source_labels=source_labels, fold=None,
        split=split,
    )  # fmt: skip


def test_scenes_as_objects_and_as_segments(scenes):
    """Both annotations say the same about every pixel that shows an object."""
    objects = open_dataset(settings(scenes, "annotations/instances_{part}.json", "scene_objects"))
    assert [case.name for case in objects.val] == ["val/0004", "val/0005"]
    segments = open_dataset(settings(scenes, "annotations/panoptic_{part}.json", "scenes"))
    for one, other in zip(objects.train, segments.train, strict=True):
        picture, found = read_objects(read_coco(one.label), one.name, one.image)
        _, whole = read_segments(read_coco(other.label), other.name, other.image)
        _, masks, classes = object_layers(picture, found, label_set("scene_objects"))
        _, layers, same = segment_layers(picture, whole, label_set("scenes"))
        assert (layers[1:] == masks).all()
        assert (same == classes).all()
        stored = np.asarray(Image.open(scenes / "labels" / f"{one.name}.png"))
        assert (layers[0] == np.where(stored > 2, 2, stored - 1)).all()


def test_crowds_are_no_training_objects():
    labels = LabelSet("animals", {7: "sheep", 9: "dog"}, frozenset({0}))
    masks = np.zeros((2, 4, 5), bool)
    objects = Objects(np.array([9, 7]), np.zeros((2, 4)), masks, np.array([False, True]))
    _, kept, numbers = object_layers(np.zeros((4, 5, 3), np.uint8), objects, labels)
    assert len(kept) == 1
    assert numbers.tolist() == [2]
    panoptic = LabelSet("animals", {7: "sheep", 9: "dog", 3: "grass"}, frozenset({0}), frozenset({3}))
    numbers = np.array([[1, 2], [3, 0]], np.int32)
    _, layers, classes = segment_layers(
        np.zeros((2, 2, 3), np.uint8), Segments(numbers, {1: 3, 2: 7, 3: 9}, frozenset({2})), panoptic
    )
    assert layers[0].tolist() == [[0, 1], [1, 255]]
    assert layers[1:].tolist() == [[[0, 0], [1, 0]]]
    assert classes.tolist() == [2]


def content(**changes):
    base = {
        "images": [{"id": 1, "file_name": "a/one.png", "height": 6, "width": 8}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 2, "bbox": [1, 1, 4, 3], "area": 12, "iscrowd": 0}],
        "categories": [{"id": 2, "name": "cat"}],
    }
    return {**base, **changes}


def annotation(**changes):
    return {"annotations": [{**content()["annotations"][0], **changes}]}


def image(**changes):
    return {"images": [{**content()["images"][0], **changes}]}


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"images": [', "readable JSON"),
        ("[" * 100_000, "readable JSON"),
        ([], "found a list"),
        (content(images=None), "'images'"),
        (content(annotations=[3]), "'annotations'"),
        (content(images=content()["images"] * 2), "image id 1 occurs more than once"),
        (content(**image(file_name="../one.png")), "no file in the folder"),
        (content(**image(file_name="")), "no file in the folder"),
        (content(**image(file_name="/etc/one.png")), "no file in the folder"),
        (content(**image(height=0)), "height and width"),
        (content(**image(width=10**9)), "height and width"),
        (content(**image(id="1")), "whole-number id"),
        (content(categories=[{"id": 2, "name": "cat"}, {"id": 2, "name": "dog"}]), "category id 2"),
        (content(categories=[{"id": 0, "name": "cat"}]), "1 or more"),
        (content(annotations=annotation()["annotations"] * 2), "annotation id 5 occurs more than once"),
        (content(**annotation(image_id=3)), "image_id 3"),
        (content(**annotation(category_id=9)), "category_id 9"),
        (content(**annotation(bbox=[1, 2, 3])), "four numbers"),
        (content(**annotation(bbox=[1, 2, float("nan"), 4])), "four numbers"),
        (content(**annotation(segments_info=[{"id": 0, "category_id": 2}], file_name="x.png")), "segment ids"),
        (content(**annotation(segments_info=[], file_name="../x.png")), "file_name of a mask"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, value, message):
    path = write(tmp_path / "annotations.json", value)
    with pytest.raises(InputError, match=message) as error:
        read_coco(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4, 5, 6, 7]], "three points"),
        ([[1, 2, 3, 4, 5, float("inf")]], "points must be numbers"),
        ([[0, 0, 1e12, 0, 5, 5]], "near the picture"),
        ({"size": [8, 6], "counts": [48]}, "of the size"),
        ("text", "run-length code"),
    ],
)
def test_wrong_masks_name_the_annotation(tmp_path, segmentation, message):
    path = write(tmp_path / "a.json", content(**annotation(segmentation=segmentation)))
    with pytest.raises(InputError, match=message) as error:
        read_objects(read_coco(path), "a/one", None)
    assert "annotation 5" in str(error.value)


def test_polygons_boxes_and_degenerate_objects(tmp_path):
    polygon = [[1.0, 1.0, 6.5, 1.0, 3.0, 5.0]]
    rows = [
        {**content()["annotations"][0], "id": 1, "segmentation": [*polygon, [1, 2, 3, 4]]},
        {**content()["annotations"][0], "id": 2},
        {**content()["annotations"][0], "id": 3, "bbox": [2, 2, 0, 3]},
        {**content()["annotations"][0], "id": 4, "segmentation": [[1, 1, 3, 3]]},
    ]
    file = read_coco(write(tmp_path / "a.json", content(annotations=rows)))
    assert file.degenerate == 2
    _, objects = read_objects(file, "a/one", None)
    theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygon, 6, 8)))
    assert (objects.masks[0] == theirs.astype(bool)).all()
    assert np.argwhere(objects.masks[1]).tolist() == [[row, column] for row in (1, 2, 3) for column in (1, 2, 3, 4)]
    assert objects.boxes.tolist() == [[1, 1, 5, 4]] * 2


def test_a_list_of_results(tmp_path):
    """COCO's servers take a list; a picture without predictions counts too."""
    images = [*content()["images"], {"id": 2, "file_name": "two.png", "height": 6, "width": 8}]
    reference = read_coco(write(tmp_path / "a.json", content(images=images)))
    results = write(tmp_path / "r.json", [{"image_id": 1, "category_id": 2, "bbox": [1, 1, 4, 3], "score": 0.5}])
    predicted = read_results(results, reference)
    assert {name: len(entries) for name, entries in predicted.annotations.items()} == {"a/one": 1, "two": 0}
    assert read_objects(predicted, "a/one", None)[1].scores.tolist() == [0.5]
    code = run_lengths.encode(np.pad(np.ones((3, 4), bool), ((1, 2), (1, 3))))
    results = write(tmp_path / "m.json", [{"image_id": 1, "category_id": 2, "segmentation": code, "score": 0.5}])
    assert read_objects(read_results(results, reference), "a/one", None)[1].boxes.tolist() == [[1, 1, 5, 4]]
    with pytest.raises(InputError, match="needs a score"):
        read_results(write(tmp_path / "s.json", [{"image_id": 1, "category_id": 2, "bbox": [1, 1, 4, 3]}]), reference)


def test_segments_that_differ_are_refused(tmp_path):
    entry = {"image_id": 1, "file_name": "one.png", "segments_info": [{"id": 4, "category_id": 2}]}
    file = read_coco(write(tmp_path / "p.json", content(annotations=[entry])))
    (tmp_path / "p").mkdir()
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "p" / "one.png")
    with pytest.raises(InputError, match=r"only p.json: \[4\]"):
        read_segments(file, "a/one", None)
    Image.fromarray(np.full((5, 8, 3), 4, np.uint8)).save(tmp_path / "p" / "one.png")
    with pytest.raises(InputError, match="8 x 5 pixels, its picture 8 x 6"):
        read_segments(file, "a/one", None)


def test_datasets_name_what_is_missing(scenes, tmp_path):
    labels = "annotations/instances_{part}.json"
    with pytest.raises(InputError, match="categories differ"):
        open_dataset(settings(scenes, labels, "coco_objects"))
    with pytest.raises(InputError, match="name the label set"):
        open_dataset(settings(scenes, labels, None))
    with pytest.raises(InputError, match=r"instances_train.json: cannot be read"):
        open_dataset(settings(tmp_path, labels, "scene_objects"))
    (tmp_path / "annotations").mkdir()
    file = json.loads((scenes / "annotations" / "instances_train.json").read_text())
    write(tmp_path / "annotations" / "instances_train.json", {**file, "annotations": file["annotations"][:1]})
    with pytest.raises(InputError, match="3 of its pictures do not exist"):
        open_dataset(settings(tmp_path, labels, "scene_objects"))
    (tmp_path / "images").symlink_to(scenes / "images")
    dataset = open_dataset(settings(tmp_path, labels, "scene_objects"))
    assert len(dataset.train) == 1
    assert "2 pictures without annotations" in dataset.notes[0]
