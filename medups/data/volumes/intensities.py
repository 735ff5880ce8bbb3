"""Whether intensities can be what a model was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.volume import Volume

_SMALLEST_RANGE_HU = 100.0  # between air, fat and organs there are hundreds
_SAME = {"MRI": "MR", "PET": "PT"}


def modality_code(name: str) -> str:
    """DICOM's code of a modality, such as MR for MRI."""
    code = name.strip().upper()
    return _SAME.get(code, code)


def other_kind(scan: Volume, trained: str) -> str | None:
    """Why a scan is not of the modality that a model was trained on, as the end of a sentence; None if it can be."""
    trained = modality_code(trained)
    if scan.modality is not None and modality_code(scan.modality) != trained:
        return f"the scan is {scan.modality}, the model was trained on {trained}"
    return not_hounsfield(scan.data) if trained == "CT" else None


def not_hounsfield(data: NDArray[np.floating]) -> str | None:
    """Why intensities cannot be Hounsfield units, as the end of a sentence; None if they can."""
    low, high = float(data.min()), float(data.max())
    found = f"intensities of {low:g} to {high:g}"
    if low >= 0:
        kinds = "CT + 1024, a clipped CT, MR, or a label mask?"
        return f"{found} cannot be Hounsfield units, because air and fat are below 0: {kinds}"
    if high - low < _SMALLEST_RANGE_HU:
        return f"{found} cannot be Hounsfield units, whose range is hundreds: a normalized scan?"
    return None
