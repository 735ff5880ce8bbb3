"""The anatomy of a phantom: its shapes, in painting order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from medups.data.labels import label_set
from medups.data.phantom.shapes import Shape, ShapeFactory


@dataclass(frozen=True)
class _Case:
    """Values shared by all parts of one anatomy.

    Args:
        enhancement: strength of the contrast agent, which brightens vessels and organs.
    """

    rng: Generator
    make: ShapeFactory
    enhancement: float

    @property
    def soft(self) -> float:
        """HU of soft tissue."""
        return 62 + 8 * self.enhancement

    @property
    def blood(self) -> float:
        """HU of blood."""
        return 40 + 110 * self.enhancement

    @property
    def liver_hu(self) -> float:
        """HU of the liver."""
        return 52 + 62 * self.enhancement


def anatomy(rng: Generator, stature: float) -> Iterator[Shape]:
    """Shapes in painting order: by default, organs overwrite unlabeled tissues but not other organs."""
    ids = {name: number for number, name in label_set("btcv13").organs.items()}
    case = _Case(rng, ShapeFactory(rng, ids, stature), rng.uniform(0.8, 1.4))
    for part in (_frame, _bowel, _vessels, _kidneys, _liver_and_spleen, _stomach, _portal_vein, _pancreas):
        yield from part(case)
    yield from _lungs(rng, stature)


def _frame(case: _Case) -> Iterator[Shape]:
    for side in (-1, 1):
        yield case.make.tube("muscle", case.soft - 8, [(side * 36, 78, -170), (side * 34, 76, 170)], 24, jitter=2)
        yield case.make.tube("psoas", case.soft - 6, [(side * 40, 52, -170), (side * 26, 50, 10)], [24, 12], jitter=2)
    yield case.make.tube("spine", 270, [(0, 60, -170), (0, 58, 170)], 21, jitter=2)
    yield case.make.tube("cord", 35, [(0, 80, -170), (0, 80, 170)], 8, jitter=1)


def _bowel(case: _Case) -> Iterator[Shape]:
    """Bowel loops whose densities span those of stomach, gallbladder and pancreas."""
    rng = case.rng
    for _ in range(10):
        start = rng.uniform((-95, -62, -120), (95, 5, -15))
        end = start + rng.normal(0, 26, 3)
        density = rng.choice([rng.uniform(5, 40), rng.uniform(60, 115) * case.enhancement])
        yield case.make.tube(
            "bowel", density, [start, (start + end) / 2 + rng.normal(0, 12, 3), end], rng.uniform(8, 15)
        )
    for side in (-1, 1):
        gas = rng.uniform(-300, 60)
        yield case.make.tube("colon", gas, [(side * 112, -6, -170), (side * 112, -10, -25)], 19, jitter=8)
    flexure = [(-104, -10, -46), (-62, -44, -38), (-6, -58, -40)]  # fluid below the gallbladder
    yield case.make.tube("colon", rng.uniform(0, 35), flexure, 15)
    yield case.make.tube(
        "duodenum", case.soft + rng.uniform(-25, 25), [(-36, -14, 2), (-50, 0, -18), (-42, 10, -48), (0, 14, -56)], 11
    )
    yield case.make.tube("esophagus", case.soft, [(14, 30, 170), (20, 22, 84), (40, 12, 72)], 9, jitter=3)


def _vessels(case: _Case) -> Iterator[Shape]:
    bend = case.rng.normal(0, 8, 2)
    yield case.make.tube(
        "inferior_vena_cava",
        case.blood - case.rng.uniform(25, 60),
        [(-22, 32, -170), (-24, 30, 0), (-20, 22, 170)],
        11,
        jitter=3,
    )
    yield case.make.tube(
        "aorta",
        case.blood,
        [(10, 34, -170), (12 + bend[0], 30 + bend[1] / 2, -30), (14, 34, 60), (16, 42, 170)],
        [11, 12, 13],
        jitter=5,
    )


def _kidneys(case: _Case) -> Iterator[Shape]:
    for side, height in ((1, -12), (-1, -30)):
        name = "left_kidney" if side > 0 else "right_kidney"
        cortex = 72 + 86 * case.enhancement
        center = (side * 60, 50, height)
        kidney = case.make.solid(
            name, cortex, [center, (side * 58, 42, height + 18)], [(25, 23, 44), (20, 19, 26)], jitter=8
        )
        yield kidney
        medulla = Shape(name, kidney.label, cortex - 45, kidney.points[:1], kidney.radii[:1] * np.float32(0.55))
        yield medulla
        middle = kidney.points[0] - np.array([side * kidney.radii[0, 0] * 0.85, 4, 0], dtype=np.float32)
        yield Shape("sinus", 0, -60, middle[None], kidney.radii[:1] * np.array([0.45, 0.3, 0.3], dtype=np.float32))
        yield case.make.tube(
            "left_adrenal_gland" if side > 0 else "right_adrenal_gland",
            case.soft + 14,
            [(side * 40, 34, 34), (side * 46, 40, 26), (side * 44, 46, 38)],
            4,
        )


def _liver_and_spleen(case: _Case) -> Iterator[Shape]:
    yield case.make.solid(
        "liver",
        case.liver_hu,
        [(-62, -2, 34), (-82, 10, 8), (-14, -34, 48)],
        [(68, 70, 62), (50, 62, 58), (58, 34, 34)],
    )
    yield case.make.solid(
        "spleen",
        case.liver_hu + case.rng.uniform(-6, 22),
        [(98, 34, 42), (92, 48, 58)],
        [(24, 38, 44), (26, 26, 26)],
        jitter=8,
    )
    for _ in range(case.rng.integers(3, 6)):  # cysts: labeled as liver, with the density of the gallbladder
        cyst = case.rng.uniform((-100, -30, -5), (-35, 35, 65))
        yield replace(
            case.make.solid("liver", case.rng.uniform(0, 30), cyst, case.rng.uniform(6, 11, 3)),
            over=(case.make.ids["liver"],),
        )


def _stomach(case: _Case) -> Iterator[Shape]:
    stomach = case.make.tube(
        "stomach",
        case.soft + 35 * case.enhancement,
        [(58, 8, 72), (72, -20, 40), (52, -46, 6), (12, -44, -8), (-16, -32, -2)],
        [27, 31, 27, 19, 12],
    )
    yield stomach
    yield stomach.filled(4, case.rng.uniform(15, 75))
    if case.rng.uniform() < 0.6:
        yield case.make.solid("stomach", -600, (62, -44, 34), (15, 9, 17), jitter=3)


def _portal_vein(case: _Case) -> Iterator[Shape]:
    yield case.make.tube(
        "portal_vein_and_splenic_vein",
        case.blood - 25,
        [(-38, -4, 22), (-12, 8, 8), (30, 16, 12), (80, 30, 36)],
        [8, 7, 6, 5],
        jitter=3,
    )


def _pancreas(case: _Case) -> Iterator[Shape]:
    """Pancreas and gallbladder."""
    rise = case.rng.normal(0, 10)
    pancreas = case.make.tube(
        "pancreas",
        case.soft + 12 + 22 * case.enhancement,
        [(-36, 0, -30), (-26, -6, -10), (2, -10, -2), (36, 4, 6 + rise), (72, 22, 22 + rise)],
        [18, 16, 14, 14, 12],
        jitter=9,
    )
    yield replace(pancreas, grain=38)
    fossa = [(-56, -38, -14), (-50, -28, 0)]
    gallbladder = case.make.solid("gallbladder", case.liver_hu + 55, fossa, [(18, 19, 24), (13, 14, 17)], 14)
    gallbladder = replace(gallbladder, over=(0, case.make.ids["liver"], case.make.ids["gallbladder"]))
    yield gallbladder
    yield gallbladder.filled(4.5, case.rng.uniform(0, 30))


def _lungs(rng: Generator, stature: float) -> Iterator[Shape]:
    """Air above the diaphragm on both sides; the heart muscle between them remains."""
    for side, height in ((-1, 122), (1, 114)):
        center = np.array([[side * 84, 16, height + rng.normal(0, 5)]], dtype=np.float32) * np.float32(stature)
        yield Shape("lung", 0, -840, center, np.array([[62, 78, 40]], dtype=np.float32) * np.float32(stature))
