"""Painting of shapes on a grid finer than the voxels, so that border voxels mix tissues."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from medups.data.phantom.shapes import Floats, Shape

_FINE_MM = 1.6  # voxels wider than this are painted on a grid twice as fine
_WARP_MM = 9.0
_LOBULE_MM = 6.0


def paint(
    shapes: list[Shape], rng: Generator, grid: tuple[int, int, int], spacing: Floats, trunk: Floats
) -> tuple[Floats, NDArray[np.uint8]]:
    """HU and labels [z, y, x], painted on a finer grid and reduced to voxels: mean HU, most frequent label."""
    fine = np.maximum(1, np.ceil(spacing / _FINE_MM)).astype(int).clip(max=2)
    shape = np.array(grid) * fine
    z, y, x = np.meshgrid(
        *((np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(step / factor)
          for n, step, factor in zip(shape, spacing, fine, strict=True)),
        indexing="ij", sparse=True,
    )  # fmt: skip
    pose = rng.uniform(-0.2, 0.2)  # radians about the long axis
    shift, lean = rng.uniform(-28, 28, 2), rng.uniform(-0.42, 0.42, 2)
    z = z + np.float32(rng.uniform(-55, 55))  # position of the scan along the trunk
    turned_x = np.float32(np.cos(pose)) * x + np.float32(np.sin(pose)) * y
    turned_y = -np.float32(np.sin(pose)) * x + np.float32(np.cos(pose)) * y
    hu = np.full(shape, -1000, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    outline = (turned_x / trunk[0]) ** 2 + ((turned_y - 4) / trunk[1]) ** 2
    hu[np.broadcast_to(outline < 1, shape)] = -100
    hu[np.broadcast_to((outline < 0.84) & (outline > 0.70), shape)] = 55
    cavity = np.broadcast_to(outline < 0.74, shape)
    # rotate, shift and tilt the organs within the trunk
    turned_x = turned_x + np.float32(lean[0]) * z + np.float32(shift[0])
    turned_y = turned_y + np.float32(lean[1]) * z + np.float32(shift[1])
    wx, wy, wz = (axis + _smooth_field(rng, (turned_x, turned_y, z)) for axis in (turned_x, turned_y, z))
    ranges = _ranges((turned_x, turned_y, z))
    lobules = _random_field(rng, shape, np.ceil(np.array(shape) * spacing / fine / _LOBULE_MM).astype(int))
    for item in shapes:
        for center, radius in zip(item.points, item.radii, strict=True):
            box = _box(center, radius + 1.5 * _WARP_MM, ranges)
            near = zip((wx, wy, wz), center, radius, strict=True)
            hit = sum(((axis[box] - middle) / width) ** 2 for axis, middle, width in near) < 1
            if item.name not in ("spine", "muscle", "cord"):
                hit &= cavity[box]
            if item.name not in ("sinus", "lung"):  # organs touch but do not overlap: the first one stays
                hit &= np.isin(labels[box], item.over or (0, item.label))
            hu[box][hit] = item.hu + np.float32(item.grain) * lobules[box][hit]
            labels[box][hit] = item.label
    hu += np.where(hu > -200, 5 * _random_field(rng, shape, (12, 16, 16)), 0)
    return _average(hu, fine), _vote(labels, fine)


def _ranges(axes: tuple[Floats, Floats, Floats]) -> list[tuple[Floats, Floats]]:
    """Minimum and maximum of x, y and z on each plane of the array axis closest to it."""
    cross_axes = ((0, 1), (0, 2), (1, 2))
    return [(values.min(across), values.max(across)) for values, across in zip(axes, cross_axes, strict=True)]


def _box(center: Floats, reach: Floats, ranges: list[tuple[Floats, Floats]]) -> tuple[slice, slice, slice]:
    """Slices [z, y, x] that contain all points within ``reach`` mm of ``center``."""
    spans = []
    for middle, distance, (low, high) in zip(center, reach, ranges, strict=True):
        where = np.flatnonzero((high >= middle - distance) & (low <= middle + distance))
        spans.append(slice(where[0], where[-1] + 1) if len(where) else slice(0, 0))
    x, y, z = spans
    return z, y, x


def _smooth_field(rng: Generator, axes: tuple[Floats, Floats, Floats]) -> Floats:
    """A displacement in mm, at most 1.5 ``_WARP_MM``: three waves of centimeters, evaluated at every eighth point."""
    waves = rng.normal(0, 1 / 34, (3, 3)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 3).astype(np.float32)
    heights = rng.normal(0, _WARP_MM / 3, 3).clip(-_WARP_MM / 2, _WARP_MM / 2).astype(np.float32)
    shape = np.broadcast_shapes(*(axis.shape for axis in axes))
    coarse = tuple(axis[tuple(slice(None, None, 8 if n > 1 else 1) for n in axis.shape)] for axis in axes)
    total = sum(
        height * np.sin(wave[0] * coarse[0] + wave[1] * coarse[1] + wave[2] * coarse[2] + phase)
        for wave, phase, height in zip(waves, phases, heights, strict=True)
    )
    return _enlarge(np.asarray(total, dtype=np.float32), shape)


def _random_field(rng: Generator, shape: Sequence[int], points: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Normal noise at ``points`` positions along each axis, interpolated linearly."""
    return _enlarge(rng.normal(0, 1, points).astype(np.float32), shape)


def _enlarge(values: Floats, shape: Sequence[int]) -> Floats:
    small = torch.from_numpy(values)[None, None]
    return F.interpolate(small, size=tuple(shape), mode="trilinear")[0, 0].numpy()


def _average(values: Floats, fine: NDArray[np.int64]) -> Floats:
    z, y, x = np.array(values.shape) // fine
    return values.reshape(z, fine[0], y, fine[1], x, fine[2]).mean((1, 3, 5))


def _vote(labels: NDArray[np.uint8], fine: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The most frequent label in each voxel; in a tie, background wins, then the lowest id."""
    best = np.zeros(np.array(labels.shape) // fine, dtype=np.float32)
    winner = np.zeros(best.shape, dtype=np.uint8)
    empty = _average((labels == 0).astype(np.float32), fine)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        small = tuple(slice(span.start // n, -(-span.stop // n)) for span, n in zip(box, fine, strict=True))
        fine_box = tuple(slice(span.start * n, span.stop * n) for span, n in zip(small, fine, strict=True))
        share = _average((labels[fine_box] == number).astype(np.float32), fine)
        better = (share > best[small]) & (share > empty[small])
        best[small][better], winner[small][better] = share[better], number
    return winner
