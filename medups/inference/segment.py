"""Apply a model to a scan; the mask has the scan's grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medups.bundle.model import Model
from medups.data.pictures.objects import Objects, Segments
from medups.data.volumes import Grid, Volume
from medups.data.volumes.intensities import other_kind
from medups.data.volumes.resize import resize_image, resized_shape
from medups.data.volumes.volume import MAX_VOXELS
from medups.errors import InputError
from medups.inference.mirroring import Network, mirrored
from medups.inference.slices import OnFraction

_VOXELWISE = ("monai.transforms.ScaleIntensityRanged", "monai.transforms.ThresholdIntensityd")
_ROWS = 16  # of a volume that are transformed at a time


@dataclass(frozen=True)
class Segmentation:
    """A mask on the grid of its scan.

    Args:
        ids: the organ of each voxel.
        uncertainty: of each voxel, see :func:`~medups.tasks.volume.uncertainty_percent`; None unless asked for.
    """

    ids: NDArray[np.uint8]
    uncertainty: NDArray[np.uint8] | None = None


def segment(
    model: Model,
    scan: Volume,
    device: torch.device | str = "cpu",
    progress: OnFraction | None = None,
    *,
    mirror: bool = False,
    bf16: bool = False,
    uncertainty: bool = False,
) -> Segmentation:
    """The mask of a scan, on the scan's grid.

    Args:
        mirror: average over mirrored images, see :func:`~medups.inference.mirroring.mirrored`.
        bf16: run the network under autocast in bfloat16.
        uncertainty: also return the uncertainty of each voxel.
    """
    network: Network = mirrored(model.network) if mirror else model.network
    image, grid = network_input(model, scan)
    percent = np.empty(grid.canonical_shape, dtype=np.uint8) if uncertainty else None
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        ids = model.inferer(
            image,
            network,
            device=device,
            shape=grid.canonical_shape,
            progress=progress,
            uncertainty=percent,
        )
    return Segmentation(grid.to_file(ids), None if percent is None else grid.to_file(percent))


def network_input(model: Model, scan: Volume) -> tuple[NDArray[np.float32], Grid]:
    """The preprocessed image in the model's orientation and spacing, and the scan's grid."""
    grid, shape = _grids(scan, model)
    image = np.array(resize_image(grid.to_canonical(scan.data), shape), dtype=np.float32)
    return preprocess(model, image), grid


def segment_canonical(model: Model, image: NDArray[np.generic], device: torch.device | str) -> NDArray[np.uint8]:
    """Canonical intensities [S, P, L] at the model's spacing -> ids."""
    prepared = preprocess(model, np.array(image, dtype=np.float32))
    ids: NDArray[np.uint8] = model.inferer(prepared, model.network, device=device)
    return ids


def channels_of(
    model: Model, picture: NDArray[np.uint8], device: torch.device | str, bf16: bool = False
) -> NDArray[np.uint8]:
    """The channel of each pixel [H, W] of a picture [H, W, 3]."""
    image = picture_input(model, picture)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        channels: NDArray[np.uint8] = model.inferer(image, model.network, device=device)
    return channels


def objects_of(
    model: Model, picture: NDArray[np.uint8], device: torch.device | str, bf16: bool = False
) -> Objects | Segments:
    """The objects of a picture [H, W, 3], or its segments, whichever the model predicts."""
    image = picture_input(model, picture)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        found: Objects | Segments = model.inferer(image, model.network, model.labels, device)
    return found


def picture_input(model: Model, picture: NDArray[np.uint8]) -> torch.Tensor:
    """The preprocessed colors [3, H, W] of a picture [H, W, 3]."""
    colors = torch.from_numpy(np.array(picture.transpose(2, 0, 1), dtype=np.float32))
    sample: Any = model.preprocessing({"image": colors})
    return torch.from_numpy(np.asarray(sample["image"], dtype=np.float32))  # without MONAI's metadata


def memory_bytes(model: Model, scan: Volume) -> int:
    """Host memory for :func:`segment` beyond the scan itself and the network's own for its windows or slices."""
    grid, shape = _grids(scan, model)
    voxels, classes = math.prod(shape), max(model.labels.organs) + 1
    ids = 2 * math.prod(grid.canonical_shape)  # on the canonical grid and on the scan's
    inferer: Any = model.inferer
    return 4 * voxels + ids + inferer.memory_bytes(shape, classes)


def preprocess(model: Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The transformed image; ``image`` itself is overwritten where each voxel depends on no other."""
    targets = [spec["_target_"] for spec in model.definition["preprocessing"]]
    if not all(target in _VOXELWISE for target in targets):
        return _transformed(model, image)
    for start in range(0, len(image), _ROWS):
        image[start : start + _ROWS] = _transformed(model, image[start : start + _ROWS])
    return image


def _transformed(model: Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    sample: Any = model.preprocessing({"image": torch.from_numpy(image)[None]})
    return np.asarray(sample["image"], dtype=np.float32)[0]


def require_usable(model: Model, scan: Volume, force: bool = False) -> None:
    """Raise InputError if ``model`` cannot segment ``scan``.

    Args:
        force: accept a scan of another modality, or intensities that cannot be Hounsfield units.

    Raises:
        InputError: another modality or intensities, an unknown spacing, or an implausible size.
    """
    if not force and (reason := other_kind(scan, model.modality)):
        raise InputError(f"{scan.source}: {reason} (--force predicts anyway)")
    if not model.spacing:
        return
    scan.require_spacing("this model")
    grid, shape = _grids(scan, model)
    current_shape = grid.canonical_shape
    if math.prod(shape) > MAX_VOXELS or any(new == 1 < old for new, old in zip(shape, current_shape, strict=True)):
        current, target = ([round(mm, 3) for mm in spacing] for spacing in (grid.spacing, model.spacing))
        raise InputError(
            f"{scan.source}: {current_shape} voxels at {current} mm would become {shape} at the model's {target} mm; "
            "check the spacing in its header"
        )


def _grids(scan: Volume, model: Model) -> tuple[Grid, tuple[int, ...]]:
    """The scan's grid in the model's orientation, and its shape at the model's spacing."""
    grid = Grid(scan.data.shape, scan.affine, model.orientation)
    return grid, resized_shape(grid.canonical_shape, grid.spacing, model.spacing)
