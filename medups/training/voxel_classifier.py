"""The baseline: a classifier that uses only the intensity and position of each voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from medups.data.cache import CachedCase
from medups.data.labels import MASK_DTYPE
from medups.data.sampling import generator

_WINDOW = (-125.0, 275.0)
_HIDDEN = 64
_POINTS_PER_CASE = 30_000
_BODY_HU = -300


class VoxelClassifier:
    """A small multilayer perceptron that maps intensity and position in the body's bounding box to organ ids.

    Position is measured from 0 to 1 across the bounding box of the body, which makes patients of different sizes
    and positions comparable.
    """

    def __init__(self, classes: int) -> None:
        self.network = nn.Sequential(
            nn.Linear(4, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, classes)
        )

    @classmethod
    def fit(cls, cases: Sequence[CachedCase], classes: int, seed: int, steps: int = 1500) -> VoxelClassifier:
        """Fit to random voxels of ``cases``, half of them in organs if the case has any."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(classes)
            rows, ids = [], []
            for number, case in enumerate(cases):
                rng = generator(seed, number, stream=4)
                image, label = np.asarray(case.image), np.asarray(case.label)
                half = _POINTS_PER_CASE // 2
                organs = case.foreground
                if len(organs):
                    organs = organs[rng.integers(len(organs), size=half)]
                points = np.concatenate([organs, rng.integers(image.shape, size=(half, 3))])
                rows.append(_features(image, points))
                ids.append(label[tuple(points.T)].astype(np.int64))
            inputs, targets = torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(ids))
            optimizer = torch.optim.AdamW(model.network.parameters(), lr=3e-3)
            for _ in range(steps):
                batch = torch.randint(len(targets), (4096,))
                loss = F.cross_entropy(model.network(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return model

    def predict(self, image: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Intensities [S, P, L] -> ids of the same shape."""
        labels = np.empty(image.shape, dtype=MASK_DTYPE)
        plane = np.argwhere(np.ones(image.shape[1:], dtype=bool))
        low, size = _body_box(image)
        for row in range(image.shape[0]):
            points = np.column_stack([np.full(len(plane), row), plane])
            with torch.inference_mode():
                logits = self.network(torch.from_numpy(_features(image, points, (low, size))))
            labels[row] = logits.argmax(1).to(torch.uint8).numpy().reshape(image.shape[1:])
        return labels


Box = tuple[NDArray[np.float64], NDArray[np.float64]]


def _features(image: NDArray[np.generic], points: NDArray[np.integer], box: Box | None = None) -> NDArray[np.float32]:
    low, size = box or _body_box(image)
    values = np.clip(image[tuple(points.T)].astype(np.float32), *_WINDOW)
    scaled = (values - _WINDOW[0]) / (_WINDOW[1] - _WINDOW[0])
    return np.column_stack([4 * scaled - 2, 4 * (points - low) / size - 2]).astype(np.float32)


def _body_box(image: NDArray[np.generic]) -> Box:
    body = np.nonzero(np.asarray(image) > _BODY_HU)
    ends = [np.percentile(axis, (1, 99)) if len(axis) else np.array([0, 1]) for axis in body]
    low = np.array([end[0] for end in ends], dtype=np.float64)
    return low, np.maximum(1, np.array([end[1] for end in ends]) - low)
