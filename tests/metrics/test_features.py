"""Feature measures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medups.metrics.features import class_similarity, radial_spectrum


def test_similarity_by_hand():
    """Two classes at right angles; one pixel of the second lies between both."""
    features = np.array([[[1.0, 2.0, 0.0, 1.0]], [[0.0, 0.0, 3.0, 1.0]]])
    classes = np.array([[0, 0, 5, 5]])
    found = class_similarity(features, classes)
    center = np.array([0 + 2**-0.5, 1 + 2**-0.5])  # of the normalized features of class 5
    center /= np.linalg.norm(center)
    own = [1, np.mean([center[1], center @ [2**-0.5, 2**-0.5]])]
    other = [center[0], np.mean([0, 2**-0.5])]
    assert found.similarity == pytest.approx(np.mean(own))
    assert found.margin == pytest.approx(np.mean(np.subtract(own, other)))
    assert class_similarity(features, np.zeros((1, 4), int)) is None


def test_the_spectrum_of_waves():
    """Each wave's variance is in the ring of its frequency, whatever the mean; their shares are as their squares."""
    y, x = np.mgrid[:32, :48]
    waves = np.stack([5 + 2 * np.cos(2 * np.pi * x * 12 / 48), np.sin(2 * np.pi * y * 2 / 32)])
    frequency, share = radial_spectrum(waves)
    assert frequency.tolist() == [k / 32 for k in range(1, 17)]
    expected = np.zeros(16)
    expected[frequency == 0.25], expected[frequency == 2 / 32] = 4 / 5, 1 / 5
    np.testing.assert_allclose(share, expected, atol=1e-12)
    corner = np.cos(np.pi * (x + y))[None]  # 0.7 cycles per pixel
    assert radial_spectrum(corner)[1][-1] == pytest.approx(1)
    assert radial_spectrum(np.ones((1, 8, 8, 8)))[1].tolist() == [0] * 4
