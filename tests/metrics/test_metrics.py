"""Overlap and distances against cases computed by hand and the numbers of the published protocol."""

from __future__ import annotations

import monai.metrics
import numpy as np
import pytest
import torch
from scipy import ndimage

from medups.metrics import (
    border_dice,
    boundary_iou,
    centerline_dice,
    dice,
    evaluate_case,
    hausdorff95_mm,
    surface_dice,
    surface_distances,
    surface_element_dice,
)


def cube(shape, low, high):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_dice_by_hand():
    a, b = cube((1, 4, 4), (0, 0, 0), (1, 2, 2)), cube((1, 4, 4), (0, 1, 1), (1, 3, 3))
    assert dice(a, b) == 2 * 1 / (4 + 4)
    assert dice(a, a) == 1
    assert dice(a, ~a) == 0
    assert dice(a & ~a, a & ~a) is None


def test_distances_of_shifted_points():
    a, b = cube((5, 5, 5), (1, 1, 1), (2, 2, 2)), cube((5, 5, 5), (1, 3, 4), (2, 4, 5))
    forward, backward = surface_distances(a, b, (9, 2, 1.5))
    assert forward.tolist() == backward.tolist() == [pytest.approx(np.hypot(4, 4.5))]


def test_surface_excludes_the_interior_and_includes_the_volume_border():
    full = np.ones((3, 3, 3), dtype=bool)
    distances, _ = surface_distances(full, full, (1, 1, 1))
    assert distances.shape == (26,)


def test_hd95_is_the_percentile_of_both_directions_pooled():
    """Two bars, one voxel wide: by hand, distances are 0 0 0 0 1 2 one way and 0 0 0 0 the other."""
    a, b = cube((1, 1, 6), (0, 0, 0), (1, 1, 6)), cube((1, 1, 6), (0, 0, 0), (1, 1, 4))
    assert hausdorff95_mm(a, b, (1, 1, 1)) == pytest.approx(np.percentile([0, 0, 0, 0, 1, 2, 0, 0, 0, 0], 95))
    assert hausdorff95_mm(a, b, (1, 1, 3)) == pytest.approx(3 * np.percentile([0, 0, 0, 0, 1, 2, 0, 0, 0, 0], 95))
    assert hausdorff95_mm(a, b & ~b, (1, 1, 1)) is None


def test_surface_dice_by_hand():
    a, b = cube((1, 1, 6), (0, 0, 0), (1, 1, 6)), cube((1, 1, 6), (0, 0, 0), (1, 1, 4))
    assert surface_dice(a, b, (1, 1, 1), tolerance_mm=1) == pytest.approx(9 / 10)
    assert surface_dice(a, b, (1, 1, 1), tolerance_mm=0) == pytest.approx(8 / 10)
    assert surface_dice(a, b & ~b, (1, 1, 1), tolerance_mm=1) == 0
    assert surface_dice(a & ~a, b & ~b, (1, 1, 1), tolerance_mm=1) is None


def test_distances_do_not_depend_on_the_position_of_the_masks(rng):
    """Masks are cropped before distances are computed, so a larger surrounding volume changes nothing."""
    a, b = rng.random((2, 6, 7, 5)) < 0.4
    inner = hausdorff95_mm(np.pad(a, 1), np.pad(b, 1), (3, 1, 1))
    assert hausdorff95_mm(np.pad(a, 9), np.pad(b, 9), (3, 1, 1)) == inner


@pytest.mark.parametrize(
    ("pred", "label", "protocol", "status", "expected"),
    [
        (True, False, "synapse", "hallucinated", (1, 0)),
        (False, True, "synapse", "missed", (0, 0)),
        (False, False, "synapse", "absent", (0, 0)),
        (True, False, "physical", "hallucinated", (None, None)),
        (False, True, "physical", "missed", (0, None)),
        (False, False, "physical", "absent", (None, None)),
    ],
)
def test_empty_masks(pred, label, protocol, status, expected):
    volumes = [np.full((2, 3, 4), int(present)) for present in (pred, label)]
    score = evaluate_case(*volumes, {"liver": 1}, (10, 10, 10), protocol)["liver"]
    assert score.status == status
    assert (score.dice, score.hd95) == expected
    assert (score.volume_ml, score.label_volume_ml) == (24 * pred, 24 * label)


@pytest.mark.parametrize("spacing", [(3.0, 0.8, 0.8), (1.0, 1.0, 1.0), (0.7, 2.0)])
def test_measures_equal_those_of_monai(rng, spacing):
    """Of random blobs in an anisotropic volume, some at its border, and in a slice."""
    shape = (14, 30, 26)[-len(spacing) :]
    for _ in range(3):
        masks = [ndimage.gaussian_filter(rng.standard_normal(shape), 2) > 0.02 for _ in range(2)]
        masks[1] |= masks[0] & (rng.random(shape) < 0.9)
        one_hot = [torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32)) for mask in masks]
        options = {"include_background": False, "spacing": spacing}
        expected = {
            "hd95_directed": monai.metrics.compute_hausdorff_distance(*one_hot, percentile=95, **options),
            "hd": monai.metrics.compute_hausdorff_distance(*one_hot, **options),
            "assd": monai.metrics.compute_average_surface_distance(*one_hot, symmetric=True, **options),
            "surface_dice": monai.metrics.compute_surface_dice(*one_hot, class_thresholds=[1.3], **options),
            "dice": monai.metrics.compute_dice(*one_hot, include_background=False),
            "iou": monai.metrics.compute_iou(*one_hot, include_background=False),
        }
        score = evaluate_case(*(mask.astype(np.uint8) for mask in masks), {"liver": 1}, spacing, tolerance_mm=1.3)
        for name, value in expected.items():
            assert getattr(score["liver"], name) == pytest.approx(value.item(), rel=1e-6), name
        matrix = monai.metrics.get_confusion_matrix(*one_hot, include_background=False)
        for name in ("precision", "recall"):
            value = monai.metrics.compute_confusion_matrix_metric(name, matrix).item()
            assert getattr(score["liver"], name) == pytest.approx(value)


def test_distances_equal_those_of_a_distance_transform(rng):
    """The nearest surface voxel is found by a tree, whatever the masks: nested, far apart, equal, one voxel."""
    shape, spacing = (12, 20, 16), (2.5, 0.7, 1.1)
    grid = np.indices(shape).reshape(3, -1).T.reshape(*shape, 3) * spacing
    outer, inner = (np.linalg.norm(grid - [14, 6, 8], axis=-1) < radius for radius in (6, 2))
    noise = rng.random(shape) < 0.2
    for pred, label in ((outer, inner), (inner, inner), (noise, outer), (cube(shape, (0, 0, 0), (1, 1, 1)), inner)):
        surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (pred, label)]
        fields = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
        distances = surface_distances(pred, label, spacing)
        np.testing.assert_allclose(distances[0], fields[1][surfaces[0]], atol=1e-12)
        np.testing.assert_allclose(distances[1], fields[0][surfaces[1]], atol=1e-12)


def test_centerline_dice_by_hand():
    """A tube of another thickness has the same centerline; half of a tube has half of it."""
    for shape in ((9, 40), (9, 9, 40)):
        middle = len(shape) - 1
        thick = cube(shape, (1,) * middle + (2,), (8,) * middle + (38,))
        thin = cube(shape, (3,) * middle + (2,), (6,) * middle + (38,))
        assert centerline_dice(thick, thick) == 1
        assert centerline_dice(thin, thick) > 0.85 > dice(thin, thick)
        line, half = (cube(shape, (4,) * middle + (2,), (5,) * middle + (end,)) for end in (38, 20))
        assert centerline_dice(half, line) == pytest.approx(2 * 0.5 / 1.5)
        assert centerline_dice(line & ~half, half) == 0
        assert centerline_dice(line, line & ~line) == 0
        assert centerline_dice(line & ~line, line & ~line) is None


def test_boundary_iou_by_hand():
    """Of squares of 6 and 4 pixels with one center: their frames of one pixel do not meet, those of two do."""
    large, small = cube((12, 12), (3, 3), (9, 9)), cube((12, 12), (4, 4), (8, 8))
    assert boundary_iou(large, small, (1, 1), 1) == 0
    assert boundary_iou(large, small, (2, 2), 4) == pytest.approx(12 / (32 + 16 - 12))
    assert boundary_iou(large, large, (1, 1), 1) == 1
    edge = cube((4, 4), (0, 0), (4, 4))  # fills the image, whose border counts as outside
    assert boundary_iou(edge, cube((4, 4), (1, 1), (3, 3)), (1, 1), 1) == 0
    assert boundary_iou(large & ~large, small & ~small, (1, 1), 1) is None


def test_the_dice_of_surface_elements_by_hand():
    """Thick blocks whose upper faces are 4 mm apart over half of their area; the walls are too small to matter."""
    a, b = cube((20, 200, 200), (2, 0, 0), (6, 200, 200)), cube((20, 200, 200), (2, 0, 0), (6, 200, 200))
    b[6:8, :, :100] = True
    whole, half = 2 * 200 * 200, 200 * 100
    expected = (2 * whole - 2 * half) / (2 * whole)
    assert surface_element_dice(a, b, (2, 1, 1), 3) == pytest.approx(expected, abs=0.03)
    assert surface_element_dice(a, b, (2, 1, 1), 4.1) == pytest.approx(1)
    assert surface_element_dice(a, a & ~a, (2, 1, 1), 1) == 0
    assert surface_element_dice(a & ~a, a & ~a, (2, 1, 1), 1) is None


def test_organs_have_their_own_tolerance(rng):
    ids = rng.integers(0, 3, (2, 5, 6, 7))
    scores = evaluate_case(*ids, {"liver": 1, "aorta": 2}, (1, 1, 1), tolerance_mm={"liver": 0, "aorta": 9})
    assert scores["liver"].surface_dice < scores["aorta"].surface_dice == 1


def test_published_protocol(golden):
    numbers = golden("transunet_protocol")
    organs = {str(number): number for number in range(1, 9)}
    scores = evaluate_case(numbers["pred"], numbers["label"], organs, (7, 7, 7), "synapse")
    np.testing.assert_allclose([score.dice for score in scores.values()], numbers["dice"], rtol=1e-12)
    np.testing.assert_allclose([score.hd95 for score in scores.values()], numbers["hd95"], rtol=1e-12)


def test_distances_on_a_sheared_grid(rng):
    """Vectors at right angles give the distances of a spacing; in a tilted gantry two voxels are as far as in space."""
    a, b = rng.random((2, 6, 7, 5)) < 0.3
    spacing = (3.0, 1.0, 0.7)
    for measure in (hausdorff95_mm, lambda *x: surface_dice(*x, 1.5), lambda *x: border_dice(*x, 1.5)):
        assert measure(a, b, np.diag(spacing)) == pytest.approx(measure(a, b, spacing))
    tilt = np.radians(20)
    steps = np.array([[1.5, 0, 0], [0, 1.5 * np.cos(tilt), 0], [0, -1.5 * np.sin(tilt), 3]])
    a, b = cube((3, 30, 12), (1, 5, 1), (2, 6, 2)), cube((3, 30, 12), (1, 20, 9), (2, 21, 10))
    assert hausdorff95_mm(a, b, steps) == pytest.approx(np.linalg.norm(steps @ [0, 15, 8]))
    assert evaluate_case(a.astype(int), b.astype(int), {"liver": 1}, steps)["liver"].volume_ml == pytest.approx(
        1.5 * 1.5 * np.cos(tilt) * 3 / 1000
    )
