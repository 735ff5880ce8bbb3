"""One scene: objects of five kinds, some thin, before a textured background; nearer ones hide others."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

STUFF = {1: "sky", 2: "ground"}
THINGS = {3: "disc", 4: "box", 5: "triangle", 6: "stick", 7: "ring"}
_FINE = 3  # painted at this many times the size, so that colors blend at borders
_HUES = {1: 0.58, 2: 0.1, 3: 0.0, 4: 0.66, 5: 0.3, 6: 0.12, 7: 0.85}
_HUE_SPREAD = 0.05
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """A picture and its annotation.

    Args:
        picture: colors [H, W, 3].
        ids: class of each pixel [H, W].
        instances: number of the object of each pixel [H, W], from 1; 0 for the background.
        classes: class id of each object that is visible, by its number.
    """

    picture: NDArray[np.uint8]
    ids: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    classes: dict[int, int]


def make_scene(seed: int, number: int, height: int = 96, width: int = 128) -> Scene:
    """Scene ``number`` of the set ``seed``; the same numbers give the same scene."""
    rng = np.random.default_rng([seed, number])
    y, x = np.mgrid[: height * _FINE, : width * _FINE] / (_FINE * height)  # in heights
    horizon = rng.uniform(0.3, 0.7) + 0.03 * np.sin(rng.uniform(4, 9) * x + rng.uniform(0, 6))
    ids = np.where(y < horizon, 1, 2).astype(np.uint8)
    instances = np.zeros_like(ids)
    colors = np.where((ids == 1)[..., None], _paint(rng, 1, x, y), _paint(rng, 2, x, y))
    drawn = {}
    for instance in range(1, rng.integers(3, 8) + 1):
        kind = int(rng.choice(list(THINGS)))
        inside = _shape(rng, kind, x, y, width / height)
        ids[inside], instances[inside], drawn[instance] = kind, instance, kind
        colors[inside] = _paint(rng, kind, x, y)[inside]
    light = ndimage.gaussian_filter(rng.normal(0, 1, ids.shape), 10 * _FINE)
    colors = colors * (1 + 0.1 * light / np.abs(light).max())[..., None]
    blended = colors.reshape(height, _FINE, width, _FINE, 3).mean((1, 3)) + rng.normal(0, 0.03, (height, width, 3))
    middle = slice(_FINE // 2, None, _FINE)
    visible = instances[middle, middle].copy()
    return Scene(
        np.clip(np.rint(255 * blended), 0, 255).astype(np.uint8),
        ids[middle, middle].copy(),
        visible,
        {instance: kind for instance, kind in drawn.items() if (visible == instance).any()},
    )


def _shape(rng: Generator, kind: int, x: Floats, y: Floats, aspect: float) -> Bools:
    """Where an object of this kind is, at a random place, size and angle."""
    size, angle = rng.uniform(0.1, 0.24), rng.uniform(0, np.pi)
    dx, dy = x - rng.uniform(0, aspect), y - rng.uniform(0.1, 0.9)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    radius = np.hypot(dx, dy)
    if kind == 3:
        return np.asarray(radius < 0.8 * size)
    if kind == 4:
        return (np.abs(along) < size) & (np.abs(across) < 0.65 * size)
    if kind == 5:
        edges = [np.cos(turn) * along + np.sin(turn) * across for turn in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
        return np.asarray(np.max(edges, axis=0) < 0.55 * size)
    if kind == 6:  # two to four pixels thick
        return (np.abs(along) < 1.6 * size) & (np.abs(across) < rng.uniform(0.011, 0.02))
    return (radius < size) & (radius > rng.uniform(0.6, 0.75) * size)


def _paint(rng: Generator, kind: int, x: Floats, y: Floats) -> Floats:
    """Colors [H, W, 3]: a hue that is typical of the kind, and its texture."""
    hue = _HUES[kind] + rng.uniform(-_HUE_SPREAD, _HUE_SPREAD)
    base = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.35, 0.9), rng.uniform(0.5, 0.95)))
    angle, waves = rng.uniform(0, np.pi), rng.uniform(60, 110)
    phase = waves * (x * np.cos(angle) + y * np.sin(angle))
    crossed = waves * (y * np.cos(angle) - x * np.sin(angle))
    texture = {
        1: 0.15 * np.sin(0.1 * phase),
        2: 0.2 * np.sin(phase) * np.sin(1.7 * crossed),
        4: 0.25 * np.sign(np.sin(phase)),
        5: 0.25 * np.sign(np.sin(phase) * np.sin(crossed)),
    }
    shade = texture.get(kind, 0.1 * np.sin(0.15 * phase))
    return np.asarray(base * (0.8 + shade[..., None]))
