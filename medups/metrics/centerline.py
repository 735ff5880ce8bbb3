"""clDice, for vessels and other tubes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medups.metrics.overlap import Mask
from medups.metrics.surface import bounding_box


def centerline_dice(pred: Mask, label: Mask) -> float | None:
    """clDice (arXiv 2003.07311): how much of each mask's centerline lies in the other mask, 0 to 1.

    The harmonic mean of both shares. The centerlines are the morphological skeletons of its authors, computed by MONAI.

    Args:
        pred, label: bool, 2-D or 3-D, of the same shape.

    Returns:
        None if both masks are empty, 0 if one is.
    """
    if not pred.any() or not label.any():
        return None if pred.any() == label.any() else 0.0
    lines = _centerline(pred), _centerline(label)
    precision, sensitivity = (
        float(np.count_nonzero(line & other) / np.count_nonzero(line))
        for line, other in zip(lines, (label, pred), strict=True)
    )
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def _centerline(mask: Mask) -> NDArray[np.bool_]:
    import torch
    from monai.losses.cldice import soft_skel

    box = bounding_box(mask)
    inside = np.pad(mask[box], 2)  # beyond its border MONAI continues the image
    depth = int(ndimage.distance_transform_cdt(inside, "taxicab").max())
    skeleton = soft_skel(torch.from_numpy(inside)[None, None].float(), depth)[0, 0].numpy() > 0.5
    result = np.zeros_like(mask)
    result[box] = skeleton[(slice(2, -2),) * mask.ndim]
    return result
