"""Abdominal CT phantoms: eight organs among similar-looking neighbors, different in every case.

Anatomy is a list of smooth shapes in millimeters, painted one over another. Coordinates run to the patient's left (x),
back (y) and head (z) from the middle of the trunk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from medups.data.phantom.anatomy import anatomy
from medups.data.phantom.painting import paint
from medups.data.phantom.shapes import Floats
from medups.data.volumes.nifti import nifti_bytes
from medups.errors import InputError
from medups.io.files import write_bytes

_ORIENTATIONS = ("LPS", "RAS", "LAS")


def write_phantoms(folder: Path, cases: int, seed: int, size: int = 128, slices: int = 40) -> Iterator[str]:
    """Write ``cases`` phantoms in the raw Synapse layout and yield each case's name when it is on disk.

    Args:
        folder: gets ``img/imgNNNN.nii.gz`` (int16, HU) and ``label/labelNNNN.nii.gz`` (uint8, BTCV ids).
        cases: number of cases, numbered from 1.
        seed: the same seed gives the same bytes.
        size: width and height of a slice in pixels.
        slices: slices per volume.

    Raises:
        InputError: a number below its minimum.
    """
    for name, value, minimum in (("cases", cases, 1), ("size", size, 32), ("slices", slices, 8), ("seed", seed, 0)):
        if value < minimum:
            raise InputError(f"phantom: {name} must be at least {minimum}, got {value}")
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
    shapes = list(anatomy(rng, stature))
    hu, labels = paint(shapes, rng, (slices, size, size), spacing, trunk)
    hu = hu + _noise(rng, hu.shape)
    image = np.clip(np.round(hu), -1024, 3071).astype(np.int16)
    return _as_file(image, labels, spacing, rng, number)


def _noise(rng: Generator, shape: tuple[int, ...]) -> Floats:
    """Scanner noise: correlated over neighboring pixels, stronger in some cases."""
    white = rng.normal(0, 1, shape).astype(np.float32)
    correlated = ndimage.gaussian_filter(white, (0, 0.6, 0.6))
    return correlated / correlated.std() * np.float32(rng.uniform(7, 13))


def _as_file(
    image: NDArray[np.int16], labels: NDArray[np.uint8], spacing: Floats, rng: Generator, number: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float64]]:
    """Convert to a file's axes: the orientation differs between cases, and every third case is oblique."""
    # painted [z, y, x] toward head, back and left: SPL
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
