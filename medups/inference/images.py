"""Convert in-memory images of several libraries to volumes and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from nibabel import orientations
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from medups.data.volumes import Volume
from medups.data.volumes.itk import LPS_TO_RAS, itk_affine
from medups.data.volumes.volume import places_voxels, without_trailing_ones
from medups.errors import InputError

Restore = Callable[[NDArray[np.uint8]], Any]


def as_volume(image: Any, orientation: str, spacing: Sequence[float] | None) -> tuple[Volume, Restore]:
    """``image`` as a volume, and the function that turns ids on its grid into an image of the same type.

    Args:
        image: a NumPy array or torch tensor [S, P, L] with axes toward head, back and the patient's left; a nibabel
            image; a SimpleITK image; or a MONAI MetaTensor [1, i, j, k] or [i, j, k].
        orientation: the axis codes of arrays.
        spacing: millimeters along the axes of an array; None if unknown. Only for arrays and plain tensors.

    Raises:
        InputError: an unsupported type of image, an image that is not 3-D, or a spacing for an image with its own.
    """
    volume, restore = _converted(image, orientation, spacing)
    if volume.data.dtype.kind not in "biuf":
        raise InputError(f"image: expected numbers, got values of type {volume.data.dtype}")
    if not places_voxels(volume.affine):
        raise InputError(f"image: its affine does not place voxels in space: {volume.affine.tolist()}")
    return volume, restore


def _converted(image: Any, orientation: str, spacing: Sequence[float] | None) -> tuple[Volume, Restore]:
    for convert in (_from_nibabel, _from_simpleitk, _from_meta_tensor):
        converted = convert(image)
        if converted is not None:
            if spacing is not None:
                raise InputError(f"spacing: a {type(image).__name__} has its own spacing; omit the argument")
            return converted
    if isinstance(image, torch.Tensor):
        volume = _from_array(_as_numpy(image), orientation, spacing)
        return volume, lambda ids: torch.from_numpy(ids).to(image.device)
    if isinstance(image, np.ndarray):
        return _from_array(image, orientation, spacing), lambda ids: ids
    raise InputError(
        f"image: expected an array, tensor, nibabel, SimpleITK or MetaTensor image, got {type(image).__name__}"
    )


def _as_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    values = tensor.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def _from_array(data: NDArray[Any], orientation: str, spacing: Sequence[float] | None) -> Volume:
    _require_3d(data.shape)
    try:
        mm = [1.0] * 3 if spacing is None else [float(value) for value in spacing]
    except (TypeError, ValueError):
        mm = []
    if len(mm) != 3 or not all(0 < value < math.inf for value in mm):
        raise InputError(f"spacing must be three numbers of millimeters above 0, got {spacing}")
    to_ras = orientations.ornt_transform(
        orientations.axcodes2ornt(("R", "A", "S")), orientations.axcodes2ornt(tuple(orientation))
    )
    affine = orientations.inv_ornt_aff(to_ras, (1, 1, 1)) @ np.diag([*mm, 1.0])
    affine[:3, 3] = 0
    return Volume(data, affine, "image", has_spacing=spacing is not None)


def _from_nibabel(image: Any) -> tuple[Volume, Restore] | None:
    if not isinstance(image, SpatialImage):
        return None
    shape = without_trailing_ones(image.shape)
    _require_3d(shape)
    if image.affine is None:
        raise InputError("image: the nibabel image has no affine; give it one, or pass an array with its spacing")
    affine = np.asarray(image.affine, dtype=np.float64)

    def restore(ids: NDArray[np.uint8]) -> Any:
        mask = type(image)(ids.reshape(image.shape), image.affine, image.header)
        mask.set_data_dtype(np.uint8)
        return mask

    return Volume(np.asanyarray(image.dataobj).reshape(shape), affine, "image"), restore


def _from_simpleitk(image: Any) -> tuple[Volume, Restore] | None:
    if type(image).__module__.partition(".")[0] != "SimpleITK":
        return None
    import SimpleITK as sitk

    _require_3d(sitk.GetArrayViewFromImage(image).shape)  # several values per voxel are another axis here

    def restore(ids: NDArray[np.uint8]) -> Any:
        mask = sitk.GetImageFromArray(np.ascontiguousarray(ids.transpose(2, 1, 0)))
        mask.CopyInformation(image)
        return mask

    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS_TO_RAS @ itk_affine(image), "image"), restore


def _from_meta_tensor(image: Any) -> tuple[Volume, Restore] | None:
    from monai.data import MetaTensor
    from monai.utils import SpaceKeys

    if not isinstance(image, MetaTensor):
        return None
    with_channel = image.ndim == 4 and image.shape[0] == 1
    data = _as_numpy(image.as_tensor()[0] if with_channel else image.as_tensor())
    _require_3d(data.shape)
    affine = np.asarray(image.affine.cpu(), dtype=np.float64)
    if image.meta.get("space") == SpaceKeys.LPS:
        affine = LPS_TO_RAS @ affine

    def restore(ids: NDArray[np.uint8]) -> Any:
        mask = torch.from_numpy(ids).to(image.device)
        meta = {name: value for name, value in image.meta.items() if name != "affine"}
        return MetaTensor(mask[None] if with_channel else mask, affine=image.affine, meta=meta)

    return Volume(data, affine, "image"), restore


def _require_3d(shape: Sequence[int]) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"image: expected a 3-D volume, got shape {tuple(shape)}")
