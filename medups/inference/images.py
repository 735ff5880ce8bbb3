"""Convert in-memory images of several libraries to volumes and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from nibabel import orientations
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from medups.data.volumes import Volume
from medups.errors import InputError

Restore = Callable[[NDArray[np.uint8]], Any]
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # SimpleITK's coordinates are left, back, up


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
    for convert in (_from_nibabel, _from_simpleitk, _from_meta_tensor):
        converted = convert(image)
        if converted is not None:
            if spacing is not None:
                raise InputError(f"spacing: a {type(image).__name__} has its own spacing; omit the argument")
            return converted
    if isinstance(image, torch.Tensor):
        volume = _from_array(image.detach().cpu().numpy(), orientation, spacing)
        return volume, lambda ids: torch.from_numpy(ids).to(image.device)
    if isinstance(image, np.ndarray):
        return _from_array(image, orientation, spacing), lambda ids: ids
    raise InputError(
        f"image: expected an array, tensor, nibabel, SimpleITK or MetaTensor image, got {type(image).__name__}"
    )


def _from_array(data: NDArray[Any], orientation: str, spacing: Sequence[float] | None) -> Volume:
    _require_3d(data.shape)
    mm = [1.0] * 3 if spacing is None else [float(value) for value in spacing]
    if len(mm) != 3 or min(mm) <= 0:
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
    _require_3d(image.shape)
    affine = np.asarray(image.affine, dtype=np.float64)

    def restore(ids: NDArray[np.uint8]) -> Any:
        mask = type(image)(ids, image.affine, image.header)
        mask.set_data_dtype(np.uint8)
        return mask

    return Volume(np.asanyarray(image.dataobj), affine, "image"), restore


def _from_simpleitk(image: Any) -> tuple[Volume, Restore] | None:
    if type(image).__module__.partition(".")[0] != "SimpleITK":
        return None
    import SimpleITK as sitk

    _require_3d(image.GetSize())
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()

    def restore(ids: NDArray[np.uint8]) -> Any:
        mask = sitk.GetImageFromArray(np.ascontiguousarray(ids.transpose(2, 1, 0)))
        mask.CopyInformation(image)
        return mask

    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), _TO_RAS @ affine, "image"), restore


def _from_meta_tensor(image: Any) -> tuple[Volume, Restore] | None:
    from monai.data import MetaTensor

    if not isinstance(image, MetaTensor):
        return None
    with_channel = image.ndim == 4 and image.shape[0] == 1
    data = image.as_tensor()[0] if with_channel else image.as_tensor()
    _require_3d(tuple(data.shape))
    affine = np.asarray(image.affine.cpu(), dtype=np.float64)

    def restore(ids: NDArray[np.uint8]) -> Any:
        mask = torch.from_numpy(ids).to(image.device)
        meta = {name: value for name, value in image.meta.items() if name != "affine"}
        return MetaTensor(mask[None] if with_channel else mask, affine=image.affine, meta=meta)

    return Volume(data.cpu().numpy(), affine, "image"), restore


def _require_3d(shape: Sequence[int]) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"image: expected a 3-D volume, got shape {tuple(shape)}")
