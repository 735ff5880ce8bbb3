"""Abdominal CT phantoms: eight organs among neighbours that look like them, different in every case.

Anatomy is a list of smooth shapes in millimetres, painted one over the other on a grid finer than the
voxels, so that voxels at borders mix their tissues. Coordinates run to the patient's left (x), back (y) and
head (z) from the middle of the trunk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from medups.data.labels import label_set
from medups.data.nifti import nifti_bytes
from medups.errors import InputError
from medups.files import write_bytes

Floats = NDArray[np.floating[Any]]
_FINE_MM = 1.6  # voxels wider than this are painted on a grid twice as fine
_WARP_MM = 9.0
_LOBULE_MM = 6.0
_ORIENTATIONS = ("LPS", "RAS", "LAS")


@dataclass(frozen=True)
class Shape:
    """A tissue: label id, Hounsfield units and a solid; ``inside`` is negative within."""

    name: str
    label: int
    hu: float
    points: Floats  # centres of spheres along a centre line [n, 3], mm
    radii: Floats  # their radii along x, y and z [n, 3], mm
    over: tuple[int, ...] = ()  # labels it may be painted over; by default its own and none
    grain: float = 0  # HU by which lobules of some millimetres differ

    def filled(self, wall: float, hu: float) -> Shape:
        """What a wall of ``wall`` mm leaves inside."""
        return replace(self, hu=hu, radii=np.maximum(self.radii - np.float32(wall), np.float32(1)))


def write_phantoms(folder: Path, cases: int, seed: int, size: int = 128, slices: int = 40) -> Iterator[str]:
    """Write ``cases`` phantoms in the raw Synapse layout and yield each case's name when it is on disk.

    Args:
        folder: gets ``img/imgNNNN.nii.gz`` (int16, HU) and ``label/labelNNNN.nii.gz`` (uint8, BTCV ids).
        cases: how many, numbered from 1.
        seed: the same seed gives the same bytes.
        size: pixels a side of a slice.
        slices: of a volume.

    Raises:
        InputError: a number below its least value.
    """
    for name, value, least in (("cases", cases, 1), ("size", size, 32), ("slices", slices, 8), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"phantom: {name} must be at least {least}, got {value}")
    jobs = [(folder, number, seed, size, slices) for number in range(1, cases + 1)]
    with ProcessPoolExecutor(min(cases, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_phantom, *zip(*jobs, strict=True))


def _write_phantom(folder: Path, number: int, seed: int, size: int, slices: int) -> str:
    image, labels, affine = make_phantom(seed, number, size, slices)
    write_bytes(folder / "img" / f"img{number:04d}.nii.gz", nifti_bytes(image, affine))
    write_bytes(folder / "label" / f"label{number:04d}.nii.gz", nifti_bytes(labels, affine))
    return f"{number:04d}"


def make_phantom(
    seed: int, number: int, size: int = 128, slices: int = 40
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float64]]:
    """One case: image in HU, labels by BTCV id (both in the file's axis order) and the affine to RAS+ mm."""
    rng = np.random.default_rng([seed, number])
    stature = rng.uniform(0.82, 1.12)
    fat = rng.uniform(1.0, 1.34)  # how much wider the trunk is than its organs need
    trunk: Floats = np.array([rng.uniform(150, 165), rng.uniform(104, 114)]) * stature * fat
    spacing = np.array([rng.uniform(200, 235) * stature / slices, 0, 0])
    spacing[1:] = 2.06 * trunk[0] * rng.uniform(1.0, 1.06) / size
    shapes = list(_anatomy(rng, stature))
    hu, labels = _paint(shapes, rng, (slices, size, size), spacing, trunk)
    hu = hu + _noise(rng, hu.shape)
    image = np.clip(np.round(hu), -1024, 3071).astype(np.int16)
    return _as_file(image, labels, spacing, rng, number)


def _anatomy(rng: Generator, stature: float) -> Iterator[Shape]:
    """Shapes in the order of painting: an organ keeps what it took, tissues without a label yield to organs."""
    ids = {name: number for number, name in label_set("btcv13").organs.items()}
    enhancement = rng.uniform(0.8, 1.4)  # contrast agent: how bright vessels and organs are in this case

    def shape(name: str, hu: float, points: Any, radii: Any, jitter: float = 6, scale: float = 0.14) -> Shape:
        """Ellipsoids at ``points``, moved and stretched together by this case's own amounts."""
        centres = np.atleast_2d(np.asarray(points, dtype=np.float32))
        widths = np.broadcast_to(np.atleast_2d(np.asarray(radii, dtype=np.float32)), centres.shape)
        centres = (centres + rng.normal(0, jitter, 3).clip(-2 * jitter, 2 * jitter)) * stature
        widths = np.asarray(widths * stature * rng.uniform(1 - scale, 1 + scale, 3), dtype=np.float32)
        label, density = ids.get(name, 0), hu + rng.normal(0, 6)
        return Shape(name, label, density, centres.astype(np.float32), widths)

    def tube(name: str, hu: float, knots: Any, radii: Any, jitter: float = 6) -> Shape:
        """Spheres close enough to each other along a smooth line through ``knots``."""
        line, given = np.asarray(knots, dtype=np.float64), np.atleast_1d(radii)
        at = np.linspace(0, len(line) - 1, 8 * len(line))
        dense = np.stack([np.interp(at, np.arange(len(line)), column) for column in line.T], 1)
        dense = ndimage.gaussian_filter1d(dense, 3, axis=0, mode="nearest")
        widths = np.interp(at, np.linspace(0, len(line) - 1, len(given)), given)
        return shape(name, hu, dense, widths[:, None], jitter)

    soft = 62 + 8 * enhancement
    for side in (-1, 1):
        yield tube("muscle", soft - 8, [(side * 36, 78, -170), (side * 34, 76, 170)], 24, jitter=2)
        yield tube("psoas", soft - 6, [(side * 40, 52, -170), (side * 26, 50, 10)], [24, 12], jitter=2)
    yield tube("spine", 270, [(0, 60, -170), (0, 58, 170)], 21, jitter=2)
    yield tube("cord", 35, [(0, 80, -170), (0, 80, 170)], 8, jitter=1)
    # bowel: loops whose densities cover those of stomach, gallbladder and pancreas
    for _ in range(10):
        start = rng.uniform((-95, -62, -120), (95, 5, -15))
        end = start + rng.normal(0, 26, 3)
        density = rng.choice([rng.uniform(5, 40), rng.uniform(60, 115) * enhancement])
        yield tube("bowel", density, [start, (start + end) / 2 + rng.normal(0, 12, 3), end], rng.uniform(8, 15))
    for side in (-1, 1):
        gas = rng.uniform(-300, 60)
        yield tube("colon", gas, [(side * 112, -6, -170), (side * 112, -10, -25)], 19, jitter=8)
    flexure = [(-104, -10, -46), (-62, -44, -38), (-6, -58, -40)]  # fluid below the gallbladder
    yield tube("colon", rng.uniform(0, 35), flexure, 15)
    yield tube(
        "duodenum", soft + rng.uniform(-25, 25), [(-36, -14, 2), (-50, 0, -18), (-42, 10, -48), (0, 14, -56)], 11
    )
    yield tube("esophagus", soft, [(14, 30, 170), (20, 22, 84), (40, 12, 72)], 9, jitter=3)
    blood = 40 + 110 * enhancement
    bend = rng.normal(0, 8, 2)
    yield tube(
        "inferior_vena_cava", blood - rng.uniform(25, 60), [(-22, 32, -170), (-24, 30, 0), (-20, 22, 170)], 11, jitter=3
    )
    yield tube(
        "aorta",
        blood,
        [(10, 34, -170), (12 + bend[0], 30 + bend[1] / 2, -30), (14, 34, 60), (16, 42, 170)],
        [11, 12, 13],
        jitter=5,
    )
    for side, height in ((1, -12), (-1, -30)):
        name = "left_kidney" if side > 0 else "right_kidney"
        cortex = 72 + 86 * enhancement
        centre = (side * 60, 50, height)
        kidney = shape(name, cortex, [centre, (side * 58, 42, height + 18)], [(25, 23, 44), (20, 19, 26)], jitter=8)
        yield kidney
        medulla = Shape(name, kidney.label, cortex - 45, kidney.points[:1], kidney.radii[:1] * np.float32(0.55))
        yield medulla
        middle = kidney.points[0] - np.array([side * kidney.radii[0, 0] * 0.85, 4, 0], dtype=np.float32)
        yield Shape("sinus", 0, -60, middle[None], kidney.radii[:1] * np.array([0.45, 0.3, 0.3], dtype=np.float32))
        yield tube(
            "left_adrenal_gland" if side > 0 else "right_adrenal_gland",
            soft + 14,
            [(side * 40, 34, 34), (side * 46, 40, 26), (side * 44, 46, 38)],
            4,
        )
    liver = 52 + 62 * enhancement
    yield shape(
        "liver", liver, [(-62, -2, 34), (-82, 10, 8), (-14, -34, 48)], [(68, 70, 62), (50, 62, 58), (58, 34, 34)]
    )
    yield shape(
        "spleen", liver + rng.uniform(-6, 22), [(98, 34, 42), (92, 48, 58)], [(24, 38, 44), (26, 26, 26)], jitter=8
    )
    for _ in range(rng.integers(3, 6)):  # cysts: liver by label, gallbladder by density
        cyst = rng.uniform((-100, -30, -5), (-35, 35, 65))
        yield replace(shape("liver", rng.uniform(0, 30), cyst, rng.uniform(6, 11, 3)), over=(ids["liver"],))
    stomach = tube(
        "stomach",
        soft + 35 * enhancement,
        [(58, 8, 72), (72, -20, 40), (52, -46, 6), (12, -44, -8), (-16, -32, -2)],
        [27, 31, 27, 19, 12],
    )
    yield stomach
    yield stomach.filled(4, rng.uniform(15, 75))
    if rng.uniform() < 0.6:
        yield shape("stomach", -600, (62, -44, 34), (15, 9, 17), jitter=3)
    yield tube(
        "portal_vein_and_splenic_vein",
        blood - 25,
        [(-38, -4, 22), (-12, 8, 8), (30, 16, 12), (80, 30, 36)],
        [8, 7, 6, 5],
        jitter=3,
    )
    rise = rng.normal(0, 10)
    pancreas = tube(
        "pancreas",
        soft + 12 + 22 * enhancement,
        [(-36, 0, -30), (-26, -6, -10), (2, -10, -2), (36, 4, 6 + rise), (72, 22, 22 + rise)],
        [18, 16, 14, 14, 12],
        jitter=9,
    )
    yield replace(pancreas, grain=38)
    fossa = [(-56, -38, -14), (-50, -28, 0)]
    gallbladder = shape("gallbladder", liver + 55, fossa, [(18, 19, 24), (13, 14, 17)], 14)
    gallbladder = replace(gallbladder, over=(0, ids["liver"], ids["gallbladder"]))
    yield gallbladder
    yield gallbladder.filled(4.5, rng.uniform(0, 30))
    yield from _lungs(rng, stature)


def _lungs(rng: Generator, stature: float) -> Iterator[Shape]:
    """Air above the diaphragm on both sides; the heart's muscle stays between."""
    for side, height in ((-1, 122), (1, 114)):
        centre = np.array([[side * 84, 16, height + rng.normal(0, 5)]], dtype=np.float32) * np.float32(stature)
        yield Shape("lung", 0, -840, centre, np.array([[62, 78, 40]], dtype=np.float32) * np.float32(stature))


def _paint(
    shapes: list[Shape], rng: Generator, grid: tuple[int, int, int], spacing: Floats, trunk: Floats
) -> tuple[Floats, NDArray[np.uint8]]:
    """HU and labels [z, y, x]: painted on a finer grid, HU averaged and labels voted down to the voxels."""
    fine = np.maximum(1, np.ceil(spacing / _FINE_MM)).astype(int).clip(max=2)
    shape = np.array(grid) * fine
    z, y, x = np.meshgrid(
        *((np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(step / factor)
          for n, step, factor in zip(shape, spacing, fine, strict=True)),
        indexing="ij", sparse=True,
    )  # fmt: skip
    pose = rng.uniform(-0.2, 0.2)  # radians about the long axis
    shift, lean = rng.uniform(-28, 28, 2), rng.uniform(-0.42, 0.42, 2)
    z = z + np.float32(rng.uniform(-55, 55))  # where along the trunk the scan begins
    turned_x = np.float32(np.cos(pose)) * x + np.float32(np.sin(pose)) * y
    turned_y = -np.float32(np.sin(pose)) * x + np.float32(np.cos(pose)) * y
    hu = np.full(shape, -1000, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    outline = (turned_x / trunk[0]) ** 2 + ((turned_y - 4) / trunk[1]) ** 2
    hu[np.broadcast_to(outline < 1, shape)] = -100
    hu[np.broadcast_to((outline < 0.84) & (outline > 0.70), shape)] = 55
    cavity = np.broadcast_to(outline < 0.74, shape)
    # the organs lie turned, shifted and leaning within the trunk
    turned_x = turned_x + np.float32(lean[0]) * z + np.float32(shift[0])
    turned_y = turned_y + np.float32(lean[1]) * z + np.float32(shift[1])
    wx, wy, wz = (axis + _smooth_field(rng, (turned_x, turned_y, z)) for axis in (turned_x, turned_y, z))
    ranges = _ranges((turned_x, turned_y, z))
    lobules = _random_field(rng, shape, np.ceil(np.array(shape) * spacing / fine / _LOBULE_MM).astype(int))
    for item in shapes:
        for centre, radius in zip(item.points, item.radii, strict=True):
            box = _box(centre, radius + 1.5 * _WARP_MM, ranges)
            near = zip((wx, wy, wz), centre, radius, strict=True)
            hit = sum(((axis[box] - middle) / width) ** 2 for axis, middle, width in near) < 1
            if item.name not in ("spine", "muscle", "cord"):
                hit &= cavity[box]
            if item.name not in ("sinus", "lung"):  # organs touch but do not interpenetrate: who comes first stays
                hit &= np.isin(labels[box], item.over or (0, item.label))
            hu[box][hit] = item.hu + np.float32(item.grain) * lobules[box][hit]
            labels[box][hit] = item.label
    hu += np.where(hu > -200, 5 * _random_field(rng, shape, (12, 16, 16)), 0)
    return _average(hu, fine), _vote(labels, fine)


def _ranges(axes: tuple[Floats, Floats, Floats]) -> list[tuple[Floats, Floats]]:
    """Least and greatest coordinate x, y and z on each plane of the array axis that mostly follows it."""
    others = ((0, 1), (0, 2), (1, 2))
    return [(values.min(across), values.max(across)) for values, across in zip(axes, others, strict=True)]


def _box(centre: Floats, reach: Floats, ranges: list[tuple[Floats, Floats]]) -> tuple[slice, slice, slice]:
    """Slices [z, y, x] that hold all points within ``reach`` mm of ``centre``."""
    spans = []
    for middle, distance, (low, high) in zip(centre, reach, ranges, strict=True):
        where = np.flatnonzero((high >= middle - distance) & (low <= middle + distance))
        spans.append(slice(where[0], where[-1] + 1) if len(where) else slice(0, 0))
    x, y, z = spans
    return z, y, x


def _smooth_field(rng: Generator, axes: tuple[Floats, Floats, Floats]) -> Floats:
    """A displacement in mm, at most 1.5 ``_WARP_MM``: three waves of centimetres, evaluated on every eighth point."""
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
    """Normal noise on ``points`` of each axis, linear between them."""
    return _enlarge(rng.normal(0, 1, points).astype(np.float32), shape)


def _enlarge(values: Floats, shape: Sequence[int]) -> Floats:
    small = torch.from_numpy(values)[None, None]
    return F.interpolate(small, size=tuple(shape), mode="trilinear")[0, 0].numpy()


def _average(values: Floats, fine: NDArray[np.int64]) -> Floats:
    z, y, x = np.array(values.shape) // fine
    return values.reshape(z, fine[0], y, fine[1], x, fine[2]).mean((1, 3, 5))


def _vote(labels: NDArray[np.uint8], fine: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The label that most of a voxel has; background, then the lowest id wins a tie."""
    best = np.zeros(np.array(labels.shape) // fine, dtype=np.float32)
    winner = np.zeros(best.shape, dtype=np.uint8)
    empty = _average((labels == 0).astype(np.float32), fine)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        small = tuple(slice(span.start // n, -(-span.stop // n)) for span, n in zip(box, fine, strict=True))
        whole = tuple(slice(span.start * n, span.stop * n) for span, n in zip(small, fine, strict=True))
        share = _average((labels[whole] == number).astype(np.float32), fine)
        better = (share > best[small]) & (share > empty[small])
        best[small][better], winner[small][better] = share[better], number
    return winner


def _noise(rng: Generator, shape: tuple[int, ...]) -> Floats:
    """Scanner noise: correlated over neighbouring pixels, stronger in some cases."""
    white = rng.normal(0, 1, shape).astype(np.float32)
    correlated = ndimage.gaussian_filter(white, (0, 0.6, 0.6))
    return correlated / correlated.std() * np.float32(rng.uniform(7, 13))


def _as_file(
    image: NDArray[np.int16], labels: NDArray[np.uint8], spacing: Floats, rng: Generator, number: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float64]]:
    """Axes as files have them: another orientation case by case, every third one oblique."""
    # painted [z, y, x] towards head, back and left: SPL
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing[0], -spacing[1], -spacing[2], 1
    affine[:3, 3] = -affine[:3, :3] @ (np.array(image.shape) - 1) / 2 + rng.normal(0, 40, 3)
    if number % 3 == 0:
        angle = np.deg2rad(rng.uniform(4, 10))
        turn = np.eye(4)
        turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = turn @ affine
    target = nib.orientations.axcodes2ornt(_ORIENTATIONS[number % len(_ORIENTATIONS)])
    change = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), target)
    affine = affine @ nib.orientations.inv_ornt_aff(change, image.shape)
    image, labels = (np.ascontiguousarray(nib.orientations.apply_orientation(a, change)) for a in (image, labels))
    return image, labels, affine
