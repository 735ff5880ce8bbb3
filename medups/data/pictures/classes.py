"""Ids in mask files, and the channels of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medups.data.labels import LabelSet

IGNORED = 255
"""The channel number of pixels that are neither trained on nor scored."""


CLASSES = "classes.json"
"""The table of ids and classes in a folder of masks."""


def to_channels(ids: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.uint8]:
    """The channel of each pixel's class, :data:`IGNORED` for ignored ids; ``ids`` were checked."""
    table = np.full(256, IGNORED, dtype=np.uint8)
    for channel, number in enumerate(labels.channels):
        table[number] = channel
    return table[ids]


def to_ids(channels: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.uint8]:
    """The ids that a mask file of this label set has for these channels."""
    return np.array(list(labels.channels), dtype=np.uint8)[channels]
