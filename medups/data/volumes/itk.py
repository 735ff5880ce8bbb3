"""Files that SimpleITK reads: NRRD and MetaImage."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.itk_headers import check_header
from medups.data.volumes.volume import Volume, places_voxels, without_trailing_ones
from medups.errors import InputError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From coordinates toward left, back and head, as in DICOM and ITK, to those toward right, front and head."""
_IO = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}


def is_itk(path: Path) -> bool:
    """Whether the name is that of a NRRD or MetaImage file."""
    return path.suffix in _IO


def read_itk(path: Path) -> Volume:
    """Read a 3-D NRRD or MetaImage file.

    Raises:
        InputError: no such file, damaged, truncated, not 3-D, several values per voxel, or without a usable affine.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    check_header(path)
    if path.suffix in (".mha", ".mhd"):
        _check_compression(path)
    pixels, image = read_image(path, _IO[path.suffix])
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: expected one number per voxel, found {image.GetNumberOfComponentsPerPixel()}")
    shape = without_trailing_ones(image.GetSize())
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"{path}: expected a 3-D volume, found {len(shape)} axes of {shape}; store one volume per file"
        )
    data = pixels.reshape(shape[::-1]).transpose(2, 1, 0)
    affine = LPS_TO_RAS @ itk_affine(image)
    if not places_voxels(affine):
        raise InputError(f"{path}: the affine is not invertible: {affine[:3].tolist()}")
    warnings = []
    if path.suffix in (".nrrd", ".nhdr") and not image.HasMetaDataKey("NRRD_space"):
        warnings.append("the header names no space, so left and right are a guess")
    return Volume(data, affine, str(path), warnings=tuple(warnings))


def _check_compression(path: Path) -> None:
    """Raise InputError if compressed voxels of a MetaImage fail their checksum, which ITK does not verify."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    header, _, rest = content.partition(b"ElementDataFile")
    if b"CompressedData = True" not in header:
        return
    name, _, voxels = rest.partition(b"\n")
    file = name.strip(b" =\r").decode(errors="replace")
    try:
        zlib.decompress(voxels if file == "LOCAL" else (path.parent / file).read_bytes())
    except (OSError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: the voxels are truncated or damaged ({error}); copy the file again") from error


def itk_affine(image: Any) -> NDArray[np.float64]:
    """From voxel indices to ITK's millimeters toward left, back and head; the first three axes of an image."""
    axes = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return affine


def read_image(path: Path, image_io: str) -> tuple[NDArray[Any], Any]:
    """Voxels [..., k, j, i] and SimpleITK's image. Raises InputError if the file cannot be read completely."""
    sitk = simpleitk()
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{path}: the file is truncated or damaged ({last_line(error)})") from error
    return sitk.GetArrayFromImage(image), image


def simpleitk() -> Any:
    """SimpleITK, without its warnings. Raises InputError if it is not installed."""
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError("this format needs SimpleITK: pip install SimpleITK") from error
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def last_line(error: Exception) -> str:
    """The last line of an error's message, which says what went wrong, or the error's type."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
