"""How well feature maps separate classes, and which frequencies they have.

As in FreqFusion's paper (arXiv 2408.12879): features of one class should be alike, and unlike those of other classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassSimilarity:
    """Means over the classes of one image.

    Args:
        similarity: cosine of a pixel's features to the mean features of its class, -1 to 1.
        margin: that minus the highest cosine to the mean features of another class.
    """

    similarity: float
    margin: float


def class_similarity(features: NDArray[np.floating], classes: NDArray[np.integer]) -> ClassSimilarity | None:
    """Of one feature map; None with fewer than two classes.

    Args:
        features: [C, *size].
        classes: [*size].
    """
    vectors = _normalized(features.reshape(len(features), -1).astype(np.float64))
    flat = classes.ravel()
    present = np.unique(flat)
    if len(present) < 2:
        return None
    centers = np.stack([_normalized(vectors[:, flat == number].mean(1, keepdims=True))[:, 0] for number in present])
    cosines = centers @ vectors
    own, others = [], []
    for row, number in enumerate(present):
        inside = flat == number
        own.append(cosines[row, inside].mean())
        others.append(np.delete(cosines, row, 0)[:, inside].max(0).mean())
    return ClassSimilarity(float(np.mean(own)), float(np.mean(np.subtract(own, others))))


def radial_spectrum(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies in cycles per pixel, up to 0.5, and the share of the variance in a ring around each.

    Args:
        features: [C, *size]; the mean of each channel is removed, and the variances of the channels are added. The
            shortest side decides the width of a ring; frequencies beyond 0.5, in the corners, count to the last one.
    """
    axes = tuple(range(1, features.ndim))
    centered = features - features.mean(axes, keepdims=True)
    power = (np.abs(np.fft.fftn(centered.astype(np.float64), axes=axes)) ** 2).sum(0)
    grid = np.meshgrid(*(np.fft.fftfreq(n) for n in features.shape[1:]), indexing="ij")
    shortest = min(features.shape[1:])
    rings = max(1, shortest // 2)
    ring = np.clip(np.rint(np.sqrt(sum(axis**2 for axis in grid)) * shortest), 1, rings).astype(int) - 1
    shares = np.bincount(ring.ravel(), weights=power.ravel(), minlength=rings)
    return np.arange(1, rings + 1) / shortest, shares / max(shares.sum(), np.finfo(np.float64).tiny)


def _normalized(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=0, keepdims=True), 1e-12)
