"""NIfTI files: read only if they are intact, written reproducibly."""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medups.data.volumes.volume import Volume, places_voxels, without_trailing_ones
from medups.errors import InputError
from medups.io.files import gzip_bytes

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # nibabel would log every header repair


def read_nifti(path: Path) -> Volume:
    """Read a 3-D NIfTI file, .nii or .nii.gz.

    Compressed files are read to the end, so that length and checksum are verified before any work.

    Raises:
        InputError: no such file, not NIfTI, truncated or damaged, not 3-D, or without a usable affine.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(
                f"{path}: the compressed file is truncated or damaged ({error}); download it again"
            ) from error
    image_class = _image_class(content, path)
    start = content[: image_class.header_class.sizeof_hdr]
    try:
        raw = image_class.header_class.from_fileobj(
            io.BytesIO(start), check=False
        )  # the check would turn a spacing of 0 into 1
        header = image_class.header_class.from_fileobj(io.BytesIO(start), check=True)
        shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), int(header["vox_offset"])
    except (HeaderDataError, ValueError) as error:
        raise InputError(f"{path}: the NIfTI header is damaged ({error})") from error
    expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) < expected or offset < image_class.header_class.sizeof_hdr:
        raise InputError(
            f"{path}: the file is truncated: {len(content)} bytes found, {expected} expected; download it again"
        )
    shape = without_trailing_ones(shape)
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"{path}: expected a 3-D volume, found {len(shape)} axes of {shape}; store one volume per file"
        )
    steps = raw["pixdim"][1:4].tolist()
    if raw["sform_code"] == 0 and not all(step > 0 for step in steps):
        raise InputError(f"{path}: expected a spacing above zero, found {steps} mm; repair the header")
    image = image_class.from_bytes(content)
    affine = np.asarray(image.affine, dtype=np.float64)
    if not places_voxels(affine):
        raise InputError(f"{path}: the affine is not invertible (a spacing of zero?): {affine[:3].tolist()}")
    data = np.asanyarray(image.dataobj).reshape(shape)
    if data.dtype.names is not None or data.dtype.kind == "c":
        raise InputError(f"{path}: expected one number per voxel, found {data.dtype}")
    return Volume(data, affine, str(path))


def nifti_file_bytes(path: Path, data: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    """The content of a NIfTI file at ``path``; compressed if the name ends in .gz."""
    return nifti_bytes(data, affine) if path.name.endswith(".gz") else _uncompressed_bytes(data, affine)


def nifti_bytes(data: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    """A compressed NIfTI-1 file of ``data`` in its own dtype; the same input gives the same bytes."""
    return gzip_bytes(_uncompressed_bytes(data, affine))


def _uncompressed_bytes(data: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def _image_class(content: bytes, path: Path) -> type[nib.Nifti1Image]:
    if content[344:348] == b"n+1\x00":
        return nib.Nifti1Image
    if content[4:8] == b"n+2\x00":
        return nib.Nifti2Image
    raise InputError(f"{path}: not a NIfTI file (.nii or .nii.gz)")
