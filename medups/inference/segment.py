"""Apply a model to a scan; the mask has the scan's grid."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medups.bundle.model import Model
from medups.data.volumes import Grid, Volume
from medups.data.volumes.intensities import modality_code, not_hounsfield
from medups.data.volumes.resize import resize_image, resized_shape
from medups.errors import InputError
from medups.inference.slices import OnFraction

_MAX_VOXELS = 2**31  # 8 GiB of intensities; a whole body at half a millimeter


def segment(
    model: Model, scan: Volume, device: torch.device | str = "cpu", progress: OnFraction | None = None
) -> Volume:
    """The mask (uint8 ids) of a scan, on the scan's grid."""
    grid, target_shape = _grids(scan, model)
    image = resize_image(grid.to_canonical(scan.data), target_shape)
    ids = segment_canonical(model, image, device, shape=grid.canonical_shape, progress=progress)
    return replace(scan, data=grid.to_file(ids))


def segment_canonical(
    model: Model,
    image: NDArray[np.generic],
    device: torch.device | str,
    shape: tuple[int, ...] | None = None,
    progress: OnFraction | None = None,
) -> NDArray[np.uint8]:
    """Canonical intensities [S, P, L] at the model's spacing -> ids, resized to ``shape`` if given."""
    sample: Any = model.preprocessing({"image": torch.from_numpy(np.array(image, dtype=np.float32))[None]})
    prepared = np.asarray(sample["image"], dtype=np.float32)[0]
    return model.inferer(prepared, model.network, device=device, shape=shape, progress=progress)


def require_usable(model: Model, scan: Volume, force: bool = False) -> None:
    """Raise InputError if ``model`` cannot segment ``scan``.

    Args:
        force: accept a scan of another modality, or intensities that cannot be Hounsfield units.

    Raises:
        InputError: another modality or intensities, an unknown spacing, or an implausible size.
    """
    if not force and (reason := _other_kind(model, scan)):
        raise InputError(f"{scan.source}: {reason} (--force predicts anyway)")
    if not model.spacing:
        return
    scan.require_spacing("this model")
    grid, shape = _grids(scan, model)
    current_shape = grid.canonical_shape
    if math.prod(shape) > _MAX_VOXELS or any(new == 1 < old for new, old in zip(shape, current_shape, strict=True)):
        current, target = ([round(mm, 3) for mm in spacing] for spacing in (grid.spacing, model.spacing))
        raise InputError(
            f"{scan.source}: {current_shape} voxels at {current} mm would become {shape} at the model's {target} mm; "
            "check the spacing in its header"
        )


def _other_kind(model: Model, scan: Volume) -> str | None:
    """Why the scan is not of the kind that the model was trained on; None if it can be."""
    trained = modality_code(model.modality)
    if scan.modality is not None and modality_code(scan.modality) != trained:
        return f"the scan is {scan.modality}, the model was trained on {trained}"
    return not_hounsfield(scan.data) if trained == "CT" else None


def _grids(scan: Volume, model: Model) -> tuple[Grid, tuple[int, ...]]:
    """The scan's grid in the model's orientation, and its shape at the model's spacing."""
    grid = Grid(scan.data.shape, scan.affine, model.orientation)
    return grid, resized_shape(grid.canonical_shape, grid.spacing, model.spacing)
