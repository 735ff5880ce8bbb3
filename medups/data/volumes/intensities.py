"""Whether intensities can be what a model was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SMALLEST_RANGE_HU = 100.0  # between air, fat and organs there are hundreds
_SAME = {"MRI": "MR", "PET": "PT"}


def modality_code(name: str) -> str:
    """DICOM's code of a modality, such as MR for MRI."""
    code = name.strip().upper()
    return _SAME.get(code, code)


def not_hounsfield(data: NDArray[np.floating]) -> str | None:
    """Why intensities cannot be Hounsfield units, as the end of a sentence; None if they can."""
    low, high = float(data.min()), float(data.max())
    found = f"intensities of {low:g} to {high:g}"
    if low >= 0:
        return f"{found} cannot be Hounsfield units, because air and fat are below 0: CT + 1024, a clipped CT, or MR?"
    if high - low < _SMALLEST_RANGE_HU:
        return f"{found} cannot be Hounsfield units, whose range is hundreds: a normalized scan?"
    return None
